"""How the pages look: light and dark, wide and narrow; every rule stands under `.backout`."""

from typing import Final

_DARK: Final = """
  --b-page: #12151b; --b-sheet: #191d25; --b-ink: #e6e9ef; --b-soft: #a9b3c2; --b-line: #39414f; --b-head: #222732;
  --b-blue: #8fb5f5; --b-blue-fill: #1b2b47; --b-green: #7fd398; --b-amber: #e9bb66; --b-amber-fill: #33280f;
  --b-red: #ff9f95; --b-red-fill: #43201d; --b-violet: #dfa3f3; --b-violet-fill: #36213e; --b-grey-fill: #272d38;
  --b-button: #8fb5f5; --b-button-ink: #0f1a2b;
"""
_LIGHT: Final = """
  --b-page: #fbfbfa; --b-sheet: #fff; --b-ink: #1c2330; --b-soft: #566072; --b-line: #d5d9e0; --b-head: #f2f4f7;
  --b-blue: #2457a8; --b-blue-fill: #e8f0fd; --b-green: #1f6d33; --b-amber: #855300; --b-amber-fill: #fff4de;
  --b-red: #a82019; --b-red-fill: #ffe9e6; --b-violet: #75228e; --b-violet-fill: #f7eafb; --b-grey-fill: #eef0f4;
  --b-button: #2457a8; --b-button-ink: #fff;
"""

STYLE: Final = (
    """
.backout {"""
    + _LIGHT
    + """
  color-scheme: light dark; max-width: 76rem; color: var(--b-ink); background: var(--b-page);
  padding: 1rem 1.2rem; border-radius: .5rem;
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; text-align: start;
}
@media (prefers-color-scheme: dark) { .backout {"""
    + _DARK
    + """} }
/* Hosts where the reader chooses say it so. */
:root[data-theme=dark] .backout {"""
    + _DARK
    + """  color-scheme: dark;
}
:root[data-theme=light] .backout {"""
    + _LIGHT
    + """  color-scheme: light;
}
.backout, .backout * { box-sizing: border-box; }
.backout h2, .backout h3 { margin: 0 0 .6rem; padding: 0; background: none; color: var(--b-ink); line-height: 1.25; }
.backout h2 { font-size: 1.25rem; font-weight: 650; }
.backout h3 { font-size: 1.02rem; font-weight: 650; }
.backout p { margin: 0 0 .6rem; }
.backout ul, .backout ol { margin: 0; padding: 0; list-style: none; }
.backout li { list-style: inherit; }
.backout a { color: var(--b-blue); text-decoration: underline; text-underline-offset: .15em; }
.backout section { margin: 0 0 2.2rem; }
.backout code, .backout pre {
  font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; color: inherit;
}
.backout code { font-size: .875em; overflow-wrap: anywhere; }
.backout pre {
  margin: .4rem 0; padding: .7rem .9rem; max-height: 24rem; overflow: auto; border: 1px solid var(--b-line);
  border-radius: .4rem; background: var(--b-head); font-size: .9rem; line-height: 1.45; white-space: pre-wrap;
}
.backout :focus-visible { outline: 3px solid var(--b-blue); outline-offset: 2px; border-radius: .2rem; }
.backout .unseen {
  position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap;
}
.backout .soft { color: var(--b-soft); font-size: .9rem; }

.backout .story {
  margin: 0 0 1.25rem; padding: 1rem 1.2rem; border: 1px solid var(--b-line); border-left: .4rem solid var(--b-soft);
  border-radius: .5rem; background: var(--b-sheet); font-size: 1.12rem; font-weight: 550; overflow-wrap: anywhere;
}
.backout .story.tone-active { border-left-color: var(--b-blue); }
.backout .story.tone-good { border-left-color: var(--b-green); }
.backout .story.tone-back { border-left-color: var(--b-amber); }
.backout .story.tone-bad { border-left-color: var(--b-red); }
.backout .story.tone-person { border-left-color: var(--b-violet); }
.backout p.story { color: var(--b-ink); }
.backout .wait {
  margin: 0 0 1.25rem; padding: .7rem 1.2rem; border: 1px solid; border-radius: .5rem; background: var(--b-sheet);
  overflow-wrap: anywhere;
}
.backout .wait.tone-warning { border-width: 2px; background: var(--b-amber-fill); }
.backout .wait strong { font-weight: 600; color: var(--b-ink); }

.backout .mark { white-space: nowrap; font-weight: 600; }
.backout .sign { display: inline-block; min-width: 1.1em; text-align: center; }
.backout .tone-strong { font-weight: 600; }
.backout .tone-faint { color: var(--b-soft); }
.backout .tone-action { font-style: italic; }
.backout .tone-id { font-family: ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace; font-size: .9em; }
.backout .tone-active, .backout .tone-kept { color: var(--b-blue); }
.backout .tone-good { color: var(--b-green); }
.backout .tone-back, .backout .tone-warning { color: var(--b-amber); }
.backout .tone-error, .backout .tone-bad { color: var(--b-red); }
.backout .tone-doubt, .backout .tone-person { color: var(--b-violet); }

.backout dl.facts { margin: 0 0 1.25rem; }
.backout dl.facts > div { display: flex; gap: 1rem; padding: .28rem 0; border-bottom: 1px solid var(--b-line); }
.backout dl.facts > div:last-child { border-bottom: 0; }
.backout dl.facts dt { flex: 0 0 11rem; margin: 0; color: var(--b-soft); font-weight: 400; }
.backout dl.facts dd { flex: 1 1 0; min-width: 0; margin: 0; overflow-wrap: anywhere; }
.backout ul.ids { display: flex; flex-wrap: wrap; gap: .15rem 1.2rem; }

.backout .panel, .backout .notice {
  margin: 0 0 1.5rem; padding: 1rem 1.2rem; border: 1px solid var(--b-line); border-radius: .5rem;
  background: var(--b-sheet);
}
.backout .panel.question { border: 2px solid var(--b-violet); background: var(--b-violet-fill); }
.backout .panel.careful { border: 2px solid var(--b-red); background: var(--b-red-fill); }
.backout .notice.urgent { border: 2px solid var(--b-amber); background: var(--b-amber-fill); }
.backout .panel > :last-child, .backout .notice > :last-child { margin-bottom: 0; }
.backout .panel.question dl.facts > div { border-color: var(--b-violet); }

.backout .actions { display: grid; gap: .6rem; }
.backout .actions > li {
  display: flex; flex-wrap: wrap; gap: .5rem 1.2rem; align-items: center; justify-content: space-between;
  padding: .75rem 1rem; border: 1px solid var(--b-line); border-radius: .5rem; background: var(--b-sheet);
}
.backout .actions .what { flex: 1 1 20rem; min-width: 0; overflow-wrap: anywhere; }
.backout .actions .what p { margin: 0; }
.backout .actions h4, .backout .actions .name { margin: 0 0 .15rem; font-size: 1rem; font-weight: 650; }
.backout .group { margin: 1.2rem 0 .5rem; }
.backout .group:first-of-type { margin-top: 0; }
.backout .refused > li { padding: .35rem 0; border-bottom: 1px solid var(--b-line); overflow-wrap: anywhere; }
.backout .refused > li:last-child { border-bottom: 0; }

.backout a.button, .backout button {
  display: inline-block; min-height: 2.75rem; margin: 0; padding: .55rem 1.1rem; border: 1.5px solid var(--b-button);
  border-radius: .4rem; background: var(--b-sheet); color: var(--b-blue); font: inherit; font-weight: 600;
  line-height: 1.4; text-align: center; text-decoration: none; text-transform: none; cursor: pointer; width: auto;
}
.backout a.button:hover, .backout button:hover { background: var(--b-blue-fill); }
.backout button.main { background: var(--b-button); color: var(--b-button-ink); }
.backout button.main:hover { filter: brightness(1.12); }
.backout button.careful { border-color: var(--b-red); background: var(--b-red); color: var(--b-sheet); }

.backout form { margin: 0; padding: 0; background: none; }
.backout .field { margin: 0 0 1rem; }
.backout .field label, .backout .filters label { display: block; margin: 0 0 .25rem; font-weight: 600; width: auto; }
.backout .field .hint { margin: 0 0 .3rem; color: var(--b-soft); font-size: .9rem; }
.backout .field .problem { margin: .3rem 0 0; color: var(--b-red); font-weight: 600; }
.backout input:not([type=checkbox]):not([type=hidden]), .backout select, .backout textarea {
  display: block; width: 100%; max-width: 44rem; min-height: 2.75rem; margin: 0; padding: .5rem .7rem; height: auto;
  border: 1px solid var(--b-soft); border-radius: .4rem; background: var(--b-sheet); color: var(--b-ink); font: inherit;
}
.backout textarea { min-height: 5rem; resize: vertical; }
.backout textarea.json { font-family: ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace; font-size: .9rem; }
.backout [aria-invalid=true] { border: 2px solid var(--b-red) !important; }
.backout .row { display: flex; flex-wrap: wrap; gap: .7rem 1rem; align-items: center; }
.backout .filters {
  display: grid; grid-template-columns: repeat(auto-fit, minmax(11rem, 1fr)); gap: .8rem 1rem; align-items: end;
  margin: 0 0 1.2rem; padding: 1rem 1.2rem; border: 1px solid var(--b-line); border-radius: .5rem;
  background: var(--b-sheet);
}
.backout .filters label.check {
  display: flex; gap: .5rem; align-items: center; min-height: 2.75rem; margin: 0; font-weight: 400;
}
.backout input[type=checkbox] { width: 1.15rem; height: 1.15rem; margin: 0; }
.backout .counts { display: flex; flex-wrap: wrap; gap: .5rem; margin: 0 0 1.2rem; }
.backout .counts a {
  display: inline-block; padding: .35rem .8rem; border: 1px solid var(--b-line); border-radius: 2rem;
  background: var(--b-sheet); text-decoration: none;
}
.backout .counts a:hover { background: var(--b-head); }
.backout .counts a[aria-current] { border: 2px solid var(--b-blue); background: var(--b-blue-fill); }
.backout .bar { width: 12rem; max-width: 45%; height: .7rem; margin-right: .6rem; vertical-align: baseline; }
.backout .bar rect { fill: currentColor; }
.backout .bar .ground { fill: var(--b-grey-fill); }
.backout .pages { display: flex; flex-wrap: wrap; gap: 1rem; margin: 1rem 0 0; }

.backout details { margin: .5rem 0 0; }
.backout dd details { margin: 0; }
.backout dd summary { padding: 0; }
.backout summary { padding: .25rem 0; color: var(--b-blue); cursor: pointer; }
.backout section > details { padding: .5rem 1rem; border: 1px solid var(--b-line); border-radius: .5rem; }
.backout .tasks { margin: 0 0 1rem; counter-reset: task; }
.backout .tasks > li { padding: .5rem 0 .5rem 2.4rem; position: relative; counter-increment: task; }
.backout .tasks > li::before {
  content: counter(task); position: absolute; left: 0; top: .5rem; width: 1.7rem; height: 1.7rem; border-radius: 50%;
  background: var(--b-grey-fill); text-align: center; font-weight: 650; font-size: .9rem; line-height: 1.7rem;
}
.backout .tasks dl.facts { margin: .2rem 0 0; font-size: .92rem; }
.backout .tasks dl.facts > div { padding: .1rem 0; border: 0; }
.backout .tasks p { margin: 0; overflow-wrap: anywhere; }
.backout ul.plain { margin: 0 0 .8rem; padding-left: 1.2rem; list-style: disc; }
.backout ul.plain > li { overflow-wrap: anywhere; }

.backout table {
  width: 100%; margin: 0 0 1rem; border: 1px solid var(--b-line); border-collapse: separate; border-spacing: 0;
  border-radius: .5rem; background: var(--b-sheet); overflow: hidden; font-size: .95rem;
}
.backout caption { padding: 0 0 .5rem; color: var(--b-soft); font-size: .9rem; text-align: start; caption-side: top; }
.backout th, .backout td {
  padding: .6rem .9rem; border: 0; border-top: 1px solid var(--b-line); background: none; color: var(--b-ink);
  font-weight: 400; font-size: inherit; text-align: start; vertical-align: top; overflow-wrap: anywhere;
  text-transform: none; line-height: 1.5;
}
.backout thead th {
  border-top: 0; background: var(--b-head); color: var(--b-soft); font-size: .85rem; font-weight: 600;
  white-space: nowrap;
}
.backout td .label { display: none; }
.backout td time { white-space: nowrap; }
.backout .name { font-weight: 650; }
@media (min-width: 46.01rem) {
  .backout .timeline th:first-child { width: 48%; }
  .backout .timeline td { width: 13%; }
  .backout .entries th:first-child { width: 14rem; }
  .backout .entries td:nth-child(3) { min-width: 9rem; }
}
.backout .flow {
  display: grid; grid-template-columns: repeat(auto-fill, minmax(11.5rem, 1fr)); gap: 1.4rem 2rem; margin: 0 0 1rem;
  padding-right: 1.4rem;
}
.backout .flow > li {
  position: relative; display: grid; grid-row: span 2; grid-template-rows: subgrid; gap: .35rem; min-width: 0;
  font-size: 1rem;
}
.backout .flow .box, .backout .flow .undo {
  padding: .55rem .8rem; border: 1px solid var(--b-line); border-radius: .5rem; background: var(--b-sheet);
  line-height: 1.4; overflow-wrap: anywhere;
}
.backout .flow .box { border: 2px solid currentColor; }
.backout .flow .box.later { border: 2px dashed var(--b-line); }
.backout .flow .name { color: var(--b-ink); }
.backout .flow .undo { padding: .4rem .8rem; border: 1px dashed currentColor; font-size: .88rem; }
.backout .flow .undo:not([class*=tone-]) { border-color: var(--b-line); }
.backout .flow .undo .words {
  display: -webkit-box; -webkit-box-orient: vertical; -webkit-line-clamp: 3; line-clamp: 3; overflow: hidden;
  color: var(--b-soft);
}
.backout .flow .undo.irreversible { border-style: solid; border-width: 2px; }
.backout .flow > li:not(:last-child) > .box::after, .backout .flow > li > .next::after {
  content: ""; position: absolute; width: .6rem; height: .6rem; border: solid var(--b-soft); border-width: 2px 2px 0 0;
}
.backout .flow > li > .box, .backout .flow > li > .undo { position: relative; }
.backout .flow > li > .box::after { right: -1.3rem; top: calc(50% - .3rem); transform: rotate(45deg); }
.backout .flow > li > .next::after { right: -1.45rem; top: calc(50% - .3rem); transform: rotate(-135deg); opacity: .7; }

.backout .chart {
  margin: 0 0 1.2rem; padding: .8rem 1.2rem; border: 1px solid var(--b-line); border-radius: .5rem;
  background: var(--b-sheet);
}
.backout .chart figcaption { padding: .6rem 0 0; color: var(--b-soft); font-size: .85rem; line-height: 1.45; }
.backout a.way { display: inline-block; white-space: nowrap; }
.backout .chart .lane { display: flex; gap: 1rem; align-items: center; padding-right: 1.3rem; }
.backout .chart .lane > svg { flex: 1 1 0; min-width: 0; overflow: visible; align-self: stretch; }
.backout .chart .who {
  display: flex; gap: .35rem; align-items: baseline; flex: 0 0 14rem; font-size: .9rem; line-height: 1.25;
  overflow-wrap: anywhere;
}
.backout .chart .step {
  display: -webkit-box; -webkit-box-orient: vertical; -webkit-line-clamp: 2; line-clamp: 2; overflow: hidden;
}
.backout .chart .part { margin: .35rem 0 .1rem; color: var(--b-soft); font-size: .85rem; font-weight: 600; }
.backout .chart text { fill: currentColor; font-size: 12px; }
.backout .chart .label { color: var(--b-soft); }
.backout .chart .bar text {
  font-size: 13px; font-weight: 650; stroke: var(--b-sheet); stroke-width: 4px; paint-order: stroke;
}
.backout .chart a { text-decoration: none; }
.backout .chart .grid { stroke: var(--b-line); stroke-width: 1px; shape-rendering: crispEdges; }
.backout .chart .gap { fill: var(--b-grey-fill); }
.backout .chart .bar rect { fill: currentColor; stroke: currentColor; stroke-width: 1px; rx: 2px; }
.backout .chart .attempt.tone-back rect, .backout .chart .attempt.tone-person rect { fill: var(--b-sheet); }
.backout .chart .attempt.tone-person rect { stroke-dasharray: 4 3; stroke-width: 2px; }
.backout .chart .attempt.tone-back rect { stroke-width: 2px; }
.backout .chart .bar.wait { opacity: .6; }
.backout .chart .bar.crowd rect { fill: none; stroke-dasharray: 2 3; }
.backout .chart a:hover rect { stroke-width: 3px; }
.backout .notes > li { padding-top: .2rem; font-size: .9rem; }
.backout .notes { margin-top: .15rem; }
.backout .notes ~ details, .backout th details { font-size: .9rem; font-weight: 400; }

@media (max-width: 46rem) {
  .backout .flow { grid-template-columns: 1fr; gap: 1.6rem; padding-right: 0; }
  .backout .flow > li { display: block; grid-row: auto; }
  .backout .flow > li > .undo { margin: .3rem 0 0 1.4rem; }
  .backout .flow > li > .box { position: static; }
  .backout .flow > li > .box::after { right: auto; left: 1rem; top: auto; bottom: -.95rem; transform: rotate(135deg); }
  .backout .flow > li > .next::after { display: none; }
  .backout .facts .mark { white-space: normal; }
  .backout .chart { padding: .7rem .8rem; }
  .backout .chart .lane { display: block; padding-right: 1.1rem; }
  .backout .chart .who { padding: .25rem 0 0; }
  .backout .chart .spare, .backout .chart .empty > svg { display: none; }
  .backout dl.facts > div { display: block; padding: .4rem 0; }
  .backout dl.facts dt { font-size: .88rem; }
  .backout .actions > li > a.button { flex: 1 1 100%; }
  .backout table.cards, .backout .cards tbody, .backout .cards tr, .backout .cards th, .backout .cards td {
    display: block; width: auto;
  }
  .backout table.cards { border: 0; background: none; overflow: visible; border-radius: 0; }
  .backout .cards caption { display: block; }
  .backout .cards caption.unseen { display: block; }
  .backout .cards thead { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
  .backout .cards tr {
    margin: 0 0 .8rem; padding: .6rem .9rem; border: 1px solid var(--b-line); border-radius: .5rem;
    background: var(--b-sheet);
  }
  .backout .cards th, .backout .cards td { padding: .2rem 0; border: 0; }
  .backout .cards td { display: flex; gap: .8rem; }
  .backout .cards td.empty { display: none; }
  .backout .cards td .label { display: block; flex: 0 0 6.5rem; color: var(--b-soft); font-size: .88rem; }
  .backout .cards td .value { min-width: 0; }
}
@media print {
  .backout .filters, .backout a.button, .backout form { display: none; }
}
"""
)
"""The style sheet; a host serves it as a file of its own, because sites forbid styles inside a page."""


def follow_theme(attribute: str) -> str:
    """Return rules, to come after `STYLE`, for a host that itself says when it is dark.

    Args:
        attribute: of the root element; `dark` means dark, all else is light whatever the reader's system prefers.
    """
    light = f":root:not([{attribute}=dark]) .backout {{{_LIGHT}  color-scheme: light; }}\n"
    dark = f":root[{attribute}=dark] .backout {{{_DARK}  color-scheme: dark; }}\n"
    return light + dark

"""How the page of a contract looks: light and dark, wide and narrow, on the screen and on paper."""

from typing import Final

STYLE: Final = """
:root {
  --page: #fbfbfa; --sheet: #fff; --ink: #1c2330; --soft: #566072; --line: #dcdfe5; --head: #f2f4f7;
  --step: #e8f0fd; --step-line: #3867b7; --undo: #fff4de; --undo-line: #a06400; --stays: #eef1f4; --stays-line: #69757f;
  --never: #ffe7e4; --never-line: #b3261e; --person: #f7e8fb; --person-line: #84279f; --good: #e4f6e9;
  --good-line: #27753b; --code: #eef0f4;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #12151b; --sheet: #191d25; --ink: #e6e9ef; --soft: #a5afbe; --line: #333a47; --head: #222732;
    --step: #1b2b47; --step-line: #82abf0; --undo: #372a10; --undo-line: #e5b45a; --stays: #262c33;
    --stays-line: #9aa7b4; --never: #45201d; --never-line: #ff9a90; --person: #3a2342; --person-line: #dd9cf2;
    --good: #17331f;
    --good-line: #7fd398; --code: #272d38;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; padding: 2.5rem 1.5rem 3rem; max-width: 72rem; background: var(--page); color: var(--ink);
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif;
}
h1, h2, h3 { line-height: 1.25; text-wrap: balance; }
h1 { margin: 0 0 .75rem; font-size: 2.1rem; letter-spacing: -.01em; overflow-wrap: anywhere; }
h2 { margin: 2.75rem 0 .75rem; font-size: 1.35rem; }
h3 { margin: 0 0 .25rem; font-size: 1.1rem; overflow-wrap: anywhere; }
p { margin: 0 0 .75rem; }
a { color: var(--step-line); }
code {
  padding: .1em .3em; border-radius: .25rem; background: var(--code); overflow-wrap: anywhere;
  font: .875em/1.4 ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace;
}
.kind {
  margin: 0; color: var(--soft); font-size: .8rem; font-weight: 600; letter-spacing: .08em;
  text-transform: uppercase;
}
.facts { margin: 0; padding: 0; list-style: none; color: var(--soft); }
.legend, footer { color: var(--soft); }
footer { margin-top: 3rem; padding-top: 1rem; border-top: 1px solid var(--line); font-size: .875rem; }
.unseen { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }

.flow { display: grid; gap: 2rem; margin: 1.25rem 0 0; padding: 0; list-style: none; }
.flow li { display: grid; grid-template-columns: minmax(0, 1fr) 12rem minmax(0, 1fr); align-items: stretch; }
.card, .pill, .flow .nothing { position: relative; display: flex; flex-direction: column; justify-content: center; }
.card {
  min-height: 4rem; padding: .6rem .9rem; border: 1.5px solid var(--step-line); border-radius: .6rem;
  background: var(--step); overflow-wrap: anywhere;
}
.card.undo { border: 1.5px dashed var(--undo-line); background: var(--undo); }
.card.stays { border-color: var(--stays-line); background: var(--stays); }
.card.never, .never-step { border: 2.5px solid var(--never-line); background: var(--never); }
.pill {
  justify-self: center; padding: .3rem 1.1rem; border: 1.5px solid var(--good-line); border-radius: 2rem;
  background: var(--good); font-weight: 600;
}
.pill.back { border: 1.5px dashed var(--undo-line); background: var(--undo); }
.effect { color: var(--soft); font-size: .85rem; }
.flow .nothing { align-items: center; color: var(--soft); font-size: .85rem; }
.flow .nothing span { padding: 0 .5rem; background: var(--page); z-index: 1; }
.forward:not(.last)::after, .back.up:not(.pill)::before {
  position: absolute; left: 50%; width: 2rem; margin-left: -1rem; height: 2rem; text-align: center;
  line-height: 2rem; font-size: 1.3rem;
}
.forward:not(.last)::after { top: calc(100% + 2px); content: "↓" / ""; color: var(--step-line); }
.back.up:not(.pill)::before { bottom: calc(100% + 2px); content: "⇡" / ""; color: var(--undo-line); }
.flow .nothing.up::after {
  position: absolute; top: 0; bottom: 0; left: 50%; border-left: 1.5px dashed var(--undo-line);
  content: "" / "";
}
.exit { position: relative; display: flex; align-items: center; justify-content: center; }
.exit span {
  z-index: 1; max-width: 9.5rem; padding: .15rem .6rem; border: 1px solid var(--line); border-radius: 1rem;
  background: var(--sheet); font-size: .8rem; line-height: 1.3; text-align: center;
}
.exit.rollback::before {
  position: absolute; top: 50%; left: 0; right: 0; border-top: 1.5px dashed var(--undo-line); content: "" / "";
}
.exit.rollback::after {
  position: absolute; top: 50%; right: .1rem; translate: 0 -52%; content: "▸" / ""; color: var(--undo-line);
}
.exit.asks::before, .exit.review::before, .exit.park::before, .exit.continue::before {
  position: absolute; top: 50%; left: 0; right: 50%; border-top: 1.5px solid var(--person-line); content: "" / "";
}
.exit.continue::before { border-color: var(--step-line); }
.exit.asks span, .exit.review span, .exit.park span { border-color: var(--person-line); background: var(--person); }
.exit.continue span { border-color: var(--step-line); background: var(--step); }

.warnings { margin: 0; padding: 0; list-style: none; display: grid; gap: .75rem; }
.warnings li {
  padding: .8rem 1rem; border-left: .3rem solid var(--undo-line); border-radius: .3rem; background: var(--undo);
}
.warnings p { margin: 0; }
.scroll { overflow-x: auto; border: 1px solid var(--line); border-radius: .6rem; background: var(--sheet); }
.scroll:focus-visible { outline: 3px solid var(--step-line); outline-offset: 2px; }
table { width: 100%; border-collapse: collapse; font-size: .92rem; }
caption { padding: .6rem .9rem; color: var(--soft); font-size: .85rem; text-align: left; }
th, td {
  padding: .55rem .9rem; border-top: 1px solid var(--line); text-align: left; vertical-align: top;
  overflow-wrap: anywhere; min-width: 6rem;
}
thead th { border-top: 0; background: var(--head); font-size: .82rem; color: var(--soft); }
tbody th { min-width: 9.5rem; font-weight: 600; }
article { margin: 0 0 2rem; }
article th[scope=row] { width: 11rem; }
article th:nth-child(3), article td:nth-child(3) { width: 40%; }
article th[scope=row] { color: var(--soft); font-weight: 500; }
.number {
  display: inline-block; min-width: 1.7rem; margin-right: .2rem; padding: .05rem .4rem; border-radius: 1rem;
  background: var(--code); color: var(--soft); font-size: .85rem; text-align: center;
}
.action { margin-bottom: .6rem; color: var(--soft); }
.action.never { color: var(--never-line); font-weight: 600; }
@media (max-width: 46rem) {
  body { padding: 1.5rem 1rem; }
  .flow li { grid-template-columns: minmax(0, 1fr) 6.5rem minmax(0, 1fr); }
  .exit span { max-width: 5.8rem; padding: .15rem .3rem; font-size: .72rem; }
  .card { padding: .5rem; font-size: .88rem; }
}
@media print {
  body { max-width: none; padding: 0; font-size: 10pt; }
  article, .flow li, .warnings li { break-inside: avoid; }
  .scroll { overflow: visible; }
}
"""

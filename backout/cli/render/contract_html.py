"""A pipeline's contract as one HTML page: it loads nothing, needs no script, and can be read by everybody."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from typing import Final, assert_never

from backout.cli.render.contract_style import STYLE
from backout.pipelines.contract import OnCompensationFailure, OnFailure, RecoveryKind
from backout.views.contract_words import ContractWords, StepWords, split_code

_BACK_CLASSES: Final = {
    RecoveryKind.COMPENSATE: "undo",
    RecoveryKind.KEEP: "stays",
    RecoveryKind.IRREVERSIBLE: "never",
    RecoveryKind.NOTHING_TO_UNDO: "nothing",
}


def draw_html(words: ContractWords) -> str:
    """Return the page."""
    return "\n".join(_draw(words)) + "\n"


def escape_text(text: str) -> str:
    """Return text as HTML; what is marked as code is `<code>`, and long names may break after an underscore."""
    return "".join(f"<code>{_escape(part)}</code>" if is_code else escape(part) for part, is_code in split_code(text))


def _escape(name: str) -> str:
    return escape(name).replace("_", "_<wbr>").replace(".", ".<wbr>")


def _draw(words: ContractWords) -> Iterator[str]:
    title = f"The contract of {words.pipeline}"
    yield "<!DOCTYPE html>"
    yield '<html lang="en">'
    yield "<head>"
    yield '<meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield '<meta name="color-scheme" content="light dark">'
    # Should an escape ever be missing, nothing runs and nothing is loaded all the same.
    yield "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
    yield f"<title>{escape(title)}</title>"
    yield f"<style>{STYLE}</style>"
    yield "</head>"
    yield "<body>"
    yield f'<header><p class="kind">Recovery contract</p><h1>{_escape(words.pipeline)}</h1>'
    yield '<ul class="facts">'
    yield from (f"<li>{escape_text(fact)}</li>" for fact in words.facts)
    yield "</ul></header>"
    yield "<main>"
    yield from _draw_flow(words)
    yield from _draw_warnings(words)
    yield from _draw_overview(words)
    yield '<section aria-labelledby="steps"><h2 id="steps">Step by step</h2>'
    for step in words.steps:
        yield from _draw_step(step)
    yield "</section>"
    yield from _draw_messages(words)
    yield "</main>"
    yield f"<footer><p>Digest of the plan: <code>{words.digest}</code></p></footer>"
    yield "</body>"
    yield "</html>"


def _draw_flow(words: ContractWords) -> Iterator[str]:
    yield '<section aria-labelledby="flow"><h2 id="flow">The way of a run</h2>'
    yield '<p class="legend">Down the left side when all goes well; up the right side when it is rolled back.</p>'
    first_back = any(_passes(words, number) for number in range(1, len(words.steps) + 1))
    yield '<ol class="flow">'
    ended = '<div class="pill back up">rolled back</div>' if first_back else '<div class="gap"></div>'
    yield f'<li><div class="pill forward">enqueued</div><div class="gap"></div>{ended}</li>'
    for step in words.steps:
        yield "<li>"
        yield (
            f'<div class="card forward {_BACK_CLASSES[step.recovery]}-step"><strong>{_escape(step.name)}</strong>'
            f'<span class="effect">{step.effect.value}</span></div>'
        )
        yield f'<div class="exit {_exit_class(step)}"><span>{_say_exit(step)}</span></div>'
        yield _draw_back(words, step)
        yield "</li>"
    yield '<li><div class="pill forward last">succeeded</div><div class="gap"></div><div class="gap"></div></li>'
    yield "</ol></section>"


def _passes(words: ContractWords, number: int) -> bool:
    """Return whether a rollback passes a step on its way up: one that begins there or below, with nothing to bar it."""
    below = words.steps[number - 1 :]
    return any(step.on_failure is OnFailure.ROLLBACK and not step.stops_rollback for step in below)


def _draw_back(words: ContractWords, step: StepWords) -> str:
    up = "up" if _passes(words, step.number) else ""
    if step.recovery is RecoveryKind.NOTHING_TO_UNDO:
        return f'<div class="back nothing {up}"><span>nothing to undo</span></div>'
    kind = _BACK_CLASSES[step.recovery]
    title = "<strong>undo:</strong> " if step.recovery is RecoveryKind.COMPENSATE else ""
    failing = _say_undo_exit(step.on_undo_failure)
    return f'<div class="card back {kind} {up}"><span>{title}{escape_text(step.action)}</span>{failing}</div>'


def _say_undo_exit(on_undo_failure: OnCompensationFailure | None) -> str:
    match on_undo_failure:
        case OnCompensationFailure.HALT:
            return '<span class="effect">if that fails, a person is asked</span>'
        case OnCompensationFailure.CONTINUE:
            return '<span class="effect">if that fails, the rollback goes on</span>'
        case None:
            return ""
        case _ as never:
            assert_never(never)


def _exit_class(step: StepWords) -> str:
    return "asks" if step.stops_rollback else step.on_failure.value


def _say_exit(step: StepWords) -> str:
    match step.on_failure:
        case OnFailure.ROLLBACK if step.stops_rollback:
            return "fails: a person is asked"
        case OnFailure.ROLLBACK:
            return "fails: roll back"
        case OnFailure.PARK:
            return "fails: parked, can be resumed"
        case OnFailure.CONTINUE:
            return "fails: goes on"
        case OnFailure.REVIEW:
            return "fails: a person decides"
        case _ as never:
            assert_never(never)


def _draw_warnings(words: ContractWords) -> Iterator[str]:
    yield '<section aria-labelledby="warnings"><h2 id="warnings">Warnings</h2>'
    if not words.warnings:
        yield "<p>None.</p>"
    else:
        yield '<ul class="warnings">'
        for warning in words.warnings:
            yield (
                f"<li><p><strong>{_escape(warning.step)}</strong>: {escape_text(warning.problem)}</p>"
                f"<p>{escape_text(warning.remedy)} <code>{escape(warning.code)}</code></p></li>"
            )
        yield "</ul>"
    yield "</section>"


def _draw_overview(words: ContractWords) -> Iterator[str]:
    yield '<section aria-labelledby="overview"><h2 id="overview">At a glance</h2>'
    headings = ("Step", "Effect", "Recovery action", "If it fails for good", "If it is cut off in the middle")
    rows = [
        (
            f'<a href="#step-{step.number}">{_escape(step.name)}</a>',
            step.effect.value,
            escape_text(step.action),
            escape_text(step.row("if_it_fails_for_good").step),
            escape_text(step.row("if_it_is_cut_off").step),
        )
        for step in words.steps
    ]
    yield from _table("What each step does, and what becomes of it", headings, rows)
    yield "</section>"


def _draw_step(step: StepWords) -> Iterator[str]:
    yield f'<article id="step-{step.number}" aria-labelledby="title-{step.number}">'
    yield f'<h3 id="title-{step.number}"><span class="number">{step.number}</span> {_escape(step.name)}</h3>'
    yield f'<p class="action {_BACK_CLASSES[step.recovery]}">{escape_text(step.action)}</p>'
    has_undo = any(row.undo for row in step.rows)
    headings = ("Contract", "The step", "Its undo") if has_undo else ("Contract", "The step")
    rows = [(escape(row.label), escape_text(row.step), escape_text(row.undo))[: len(headings)] for row in step.rows]
    yield from _table(f"The contract of {step.name}", headings, rows, is_caption_hidden=True)
    yield "</article>"


def _draw_messages(words: ContractWords) -> Iterator[str]:
    if words.messages:
        yield '<section aria-labelledby="messages"><h2 id="messages">What a customer is told</h2>'
        rows = [(f"<code>{_escape(state)}</code>", escape_text(text)) for state, text in words.messages]
        yield from _table("Texts by state", ("State", "Text"), rows, is_caption_hidden=True)
        yield "</section>"


def _table(
    caption: str, headings: Sequence[str], rows: Sequence[Sequence[str]], *, is_caption_hidden: bool = False
) -> Iterator[str]:
    """Yield a table.

    Args:
        caption: plain text.
        headings: plain text.
        rows: of HTML; the first cell of each is its heading.
        is_caption_hidden: the heading above says it already; only screen readers are told.
    """
    # A wide table scrolls in its own box, also by keyboard.
    yield f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption)}"><table>'
    hidden = ' class="unseen"' if is_caption_hidden else ""
    yield f"<caption{hidden}>{escape(caption)}</caption>"
    yield "<thead><tr>" + "".join(f'<th scope="col">{escape(name)}</th>' for name in headings) + "</tr></thead>"
    yield "<tbody>"
    for first, *others in rows:
        cells = "".join(f"<td>{cell}</td>" for cell in others)
        yield f'<tr><th scope="row">{first}</th>{cells}</tr>'
    yield "</tbody></table></div>"

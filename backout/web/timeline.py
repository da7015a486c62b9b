"""The timeline of a run: its picture, and as tables the plan forward and the rollback in its order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from backout.ledger.records import StepRecord
from backout.states import Direction
from backout.views.chart import tell_chart
from backout.views.clock import Clock
from backout.views.picture import RunPicture
from backout.views.questions import ASKED
from backout.views.timeline import TimelineLine, find_window, tell_rollback, tell_steps
from backout.views.words import say_count
from backout.web.chart import draw_chart
from backout.web.host import Places
from backout.web.html import Child, Html, break_name, element
from backout.web.pieces import disclose, draw_facts, draw_json, draw_mark, draw_note, draw_table, draw_time

MOST_LINES: Final = 500
"""Steps that a page shows of one direction."""
_HEADINGS: Final = ("Step", "State", "Attempts", "Started", "Took")


def draw_timeline(picture: RunPicture, clock: Clock, places: Places) -> list[Html]:
    """Return what was done, is being done and is still to come, in both directions."""
    forward, back = tell_steps(picture, clock), tell_rollback(picture, clock)
    chart = tell_chart(picture, forward, back, clock)
    drawn = draw_chart(chart, places) if chart is not None else []
    drawn += _draw_direction("Forward, in the order of the plan", "steps", forward, picture, places)
    if back:
        drawn += _draw_direction("Rollback, in the order of undoing", "undos", back, picture, places)
    return [*drawn, element("p", "Times are UTC.", class_="soft")]


def _draw_direction(
    caption: str, noun: str, lines: Sequence[TimelineLine], picture: RunPicture, places: Places
) -> list[Html]:
    first, last = find_window([line.has_begun for line in lines], MOST_LINES)
    left_out = [
        element("p", f"{say_count(count, noun[:-1])} {where} not shown.", class_="soft")
        for count, where in ((first, "before these are"), (len(lines) - last, "behind these are"))
        if count
    ]
    rows = [_draw_line(line, picture, places) for line in lines[first:last]]
    return [element("h3", caption), draw_table(caption, _HEADINGS, rows, kind="timeline", is_told=True), *left_out]


def _draw_line(line: TimelineLine, picture: RunPicture, places: Places) -> Sequence[Child]:
    notes = [element("li", draw_note(note)) for note in line.notes]
    started = line.started_at
    is_same_day = started is not None and started.date() == picture.run.created_at.date()
    at = f"{started:%H:%M:%S}" if is_same_day else f"{started:%m-%d %H:%M:%S}" if started else ""
    return (
        [
            element("span", break_name(line.name), class_="name"),
            element("ul", notes, class_="notes") if notes else None,
            *(_draw_details(line.row, picture, places) if line.row is not None else ()),
        ],
        draw_mark(line.mark),
        _draw_attempts(line, places),
        draw_time(started, at) if started is not None else None,
        line.took,
    )


def _draw_attempts(line: TimelineLine, places: Places) -> list[Child]:
    """Return how many attempts there were, with the way to their Celery task where the host shows it."""
    url = places.task(line.row.task_id) if line.row is not None else None
    if url is None or not line.attempts:
        return [line.attempts] if line.attempts else []
    link = element("a", element("span", f"{line.name}: ", class_="unseen"), "Celery task", href=url, class_="way")
    return [line.attempts, " ", link]


def _draw_details(row: StepRecord, picture: RunPicture, places: Places) -> Iterator[Html]:
    """Yield what is recorded of a step besides its state, collapsed."""
    error = {name: value for name, value in (row.error or {}).items() if name != "traceback"}
    is_told = row.output is not None and not row.direction.is_question
    facts: list[tuple[str, Child]] = [
        ("Output", draw_json(row.output) if is_told else None),
        ("Error", draw_json(error) if error else None),
        ("Idempotency key", element("code", row.idempotency_key)),
        *_draw_tasks(row, picture, places),
        ("Worker", row.claimed_by),
    ]
    if row.attempt or row.output is not None:
        whose = "undo" if row.direction is Direction.COMPENSATION else "step"
        yield disclose(["Details", element("span", f" of the {whose} {row.step}", class_="unseen")], draw_facts(facts))


def _draw_tasks(row: StepRecord, picture: RunPicture, places: Places) -> Iterator[tuple[str, Child]]:
    """Yield the Celery tasks of a step: its own, those that asked about it, and those of earlier rounds.

    All attempts of a row are one Celery task, until somebody runs it again by hand or its message was lost: then the
    row keeps the newest.
    """
    for other in reversed(picture.steps):
        is_about = other.position == row.position and other.round <= row.round
        if is_about and (other.direction is row.direction or _asks_about(other, row)):
            asked = f" that asked {ASKED[other.direction]}" if other.direction.is_question else ""
            when = f", round {other.round}" if other.round < row.round else ""
            yield f"Celery task{asked}{when}", draw_task(other, places)


def _asks_about(other: StepRecord, row: StepRecord) -> bool:
    return other.direction.is_question and row.direction is Direction.FORWARD


def draw_task(row: StepRecord, places: Places) -> Html:
    """Return the id of a row's Celery task, with the way to the host's page of it where there is one."""
    code, url = element("code", row.task_id), places.task(row.task_id)
    return element("a", code, href=url) if url is not None else code

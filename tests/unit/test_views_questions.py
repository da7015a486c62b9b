"""What the pictures of a run say of the questions that are asked about its steps."""

from __future__ import annotations

from typing import Any

import pytest

from backout.cli.render.timeline import draw_rollback, draw_steps
from backout.events import Event
from backout.ledger.records import StepRecord
from backout.states import Direction, RunState, StepState
from backout.views.clock import Clock
from backout.views.entries import say_event
from backout.views.questions import tell_question
from backout.views.story import tell_story
from tests.support.pictures import COMPENSATION, at, done, entry_record, picture, printed, step_record

CLOCK = Clock(now=at(30))
RECONCILE = Direction.RECONCILE
VERIFY = Direction.VERIFY
DOUBT = step_record("charge_card", StepState.IN_DOUBT, error={"type": "lost", "message": "its worker was killed"})


def asked(state: StepState, direction: Direction = RECONCILE, **values: Any) -> StepRecord:
    return step_record("charge_card", state, direction, **values)


@pytest.mark.parametrize(
    ("question", "words"),
    [
        (asked(StepState.READY, attempt=0), "asked whether it happened: waits for the answer"),
        (asked(StepState.RUNNING, attempt=2), "asked whether it happened, attempt 2: waits for the answer"),
        (asked(StepState.SUCCEEDED, output={"answer": "done"}), "asked whether it happened: it had happened"),
        (asked(StepState.SUCCEEDED, output={"answer": "not_done"}), "asked whether it happened: it had not happened"),
        (
            asked(StepState.SUCCEEDED, output={"answer": "unknown", "why": "the bank is closed"}),
            "asked whether it happened: nobody can tell (the bank is closed)",
        ),
        (asked(StepState.SUCCEEDED, VERIFY, output={"answer": "done"}), "asked whether it is live: it is live"),
        (
            asked(StepState.FAILED, error={"message": "no line"}),
            "asked whether it happened: no answer (no line)",
        ),
        (
            asked(StepState.RETRY_SCHEDULED, VERIFY, error={"message": "not live yet"}, next_retry_at=at(40)),
            "asked whether it is live: not live yet; the next is due in 10 s",
        ),
        (asked(StepState.PENDING), "to be asked whether it happened before it is undone"),
    ],
)
def test_each_state_of_a_question_in_words(question: StepRecord, words: str) -> None:
    """At 3 a.m. one reads what was asked and what came back."""
    assert tell_question(picture(RunState.RUNNING, [DOUBT, question]), question, CLOCK).plain == words


def test_question_that_waits_says_why() -> None:
    """R5: asked too early it could be answered wrongly; the reader sees until when."""
    question = asked(StepState.WAITING, sweep_at=at(60))
    reason = "the claim expired; waits until 05:21:00 UTC, because an attempt that was given up may run until then"
    entries = [entry_record(Event.WAIT_STARTED, question, reason=reason)]
    told = tell_question(picture(RunState.RUNNING, [DOUBT, question], entries=entries), question, CLOCK).plain
    assert told == f"asked whether it happened: it {reason.partition('; ')[2]}"


def test_question_stands_under_its_step() -> None:
    """The step's line has the note, and the question has no line of its own."""
    question = asked(StepState.SUCCEEDED, output={"answer": "done"})
    lines = printed(draw_steps(picture(RunState.RUNNING, [DOUBT, question]), CLOCK)).splitlines()
    assert sum("charge_card" in line for line in lines) == 1
    assert any("asked whether it happened: it had happened" in line for line in lines)


def test_sentence_of_a_step_in_doubt_says_that_it_is_asked_about() -> None:
    """Nobody needs to do anything yet."""
    told = tell_story(picture(RunState.RUNNING, [DOUBT, asked(StepState.READY, attempt=0)]))
    assert "nobody knows whether charge_card happened at attempt 1 (its worker was killed)" in told
    assert "it is being asked whether it happened" in told


def test_sentence_of_what_is_published_and_not_seen() -> None:
    """Every step is done, and yet the run is not."""
    rows = [*done("check_address", "reserve_stock", "charge_card"), asked(StepState.RUNNING, VERIFY)]
    assert "charge_card is done, and it is being asked whether it is live" in tell_story(
        picture(RunState.RUNNING, rows)
    )


def test_undo_that_waits_says_until_when() -> None:
    """R5 again, on the way back."""
    waiting = step_record("charge_card", StepState.WAITING, COMPENSATION, started_at=None, sweep_at=at(42))
    drawn = draw_rollback(picture(RunState.ROLLING_BACK, [DOUBT, waiting]), CLOCK)
    assert drawn is not None
    assert "an attempt that was given up may still run; this is due in 12 s" in " ".join(printed(drawn).split())


@pytest.mark.parametrize(
    ("direction", "words"),
    [
        (Direction.FORWARD, "charge_card: attempt started (attempt 1)"),
        (COMPENSATION, "undo charge_card: attempt started (attempt 1)"),
        (RECONCILE, "reconcile charge_card: attempt started (attempt 1)"),
        (VERIFY, "verify charge_card: attempt started (attempt 1)"),
    ],
)
def test_entries_name_what_ran(direction: Direction, words: str) -> None:
    """Four functions of one step are told apart."""
    row = step_record("charge_card", StepState.RUNNING, direction)
    assert say_event(entry_record(Event.ATTEMPT_STARTED, row)) == words

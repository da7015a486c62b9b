"""What attempts say of their end goes into logs, events and entries: it quotes nothing that nobody may see."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from backout import (
    AskHuman,
    FailStep,
    InDoubt,
    NotDone,
    ParkRun,
    Pipeline,
    Retry,
    RetryStep,
    RunHandle,
    SkipStep,
    StepContext,
    Unknown,
    step,
)
from backout.testing.scratch import Scratch
from tests.support.definitions import unique

CARD: Final = "4111-1111-2222-3333"
TOKEN: Final = "t0k3n-of-the-bank"
INPUT: Final = {"card": CARD, "amount": 4200}


def wrong_type(order: dict[str, Any]) -> Any:
    return {"token": TOKEN, "card": CARD, "what": object()}


def raises(error: Exception) -> Callable[[dict[str, Any]], Any]:
    def end(order: dict[str, Any]) -> Any:
        raise error

    return end


def chained(order: dict[str, Any]) -> Any:
    try:
        raise KeyError(CARD)
    except KeyError as error:
        # The message is cut in the middle of the number.
        raise RuntimeError("x" * 1_990 + CARD) from error


def run_alone(scratch: Scratch, function: Callable[..., Any], **contract: Any) -> RunHandle:
    name = unique()
    made = step(name=name, keep="-", retry=Retry(limit=1, delay=0.1), sensitive=("token",), **contract)(function)
    return scratch.run(Pipeline(unique("p"), [made], sensitive=("card",)), INPUT)


def said_of(scratch: Scratch, handle: RunHandle, caplog: pytest.LogCaptureFixture) -> str:
    """Return all that was recorded of the ends of attempts, and all that was logged."""
    entries = [f"{entry.reason} {entry.detail}" for entry in handle.entries() if entry.event != "external_id_recorded"]
    reviews = [review.evidence["what"] for review in scratch.reviews(handle)]
    errors = [row.error for row in handle.steps()]
    return f"{entries} {errors} {handle.status().error_summary} {reviews} {caplog.text}"


@pytest.mark.parametrize(
    "function",
    [
        wrong_type,
        chained,
        *map(
            raises,
            (
                ValueError(CARD),
                FailStep(f"card {CARD}"),
                RetryStep(f"card {CARD}"),
                SkipStep(f"card {CARD}"),
                ParkRun(f"card {CARD}"),
                InDoubt(f"card {CARD}"),
                AskHuman("may_have_duplicated", f"card {CARD}"),
            ),
        ),
    ],
)
def test_no_end_of_an_attempt_quotes_the_input(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, function: Callable[..., Any]
) -> None:
    """Neither message nor traceback, however it ends, nor what of it is left when it is cut."""
    caplog.set_level(logging.DEBUG)
    with Scratch(tmp_path) as scratch:
        said = said_of(scratch, run_alone(scratch, function), caplog)
    assert CARD[:6] not in said
    assert TOKEN not in said


def test_neither_compensation_nor_question_quotes_what_the_step_has_returned(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """They are given it, and may fail with it."""
    asked: list[Any] = []

    @step(name=unique(), retry=Retry(limit=0), sensitive=("token", "id"))
    def pay(order: dict[str, Any], ctx: StepContext) -> dict[str, str]:
        ctx.record_external_id("id", "id-of-the-bank")
        return {"token": TOKEN}

    @pay.compensation(action="refund", retry=Retry(limit=0), name=unique())
    def refund(order: dict[str, Any], output: dict[str, str] | None, ctx: StepContext) -> None:
        asked.append(output)
        message = f"{output} {dict(ctx.external_ids)} {order}"
        raise RuntimeError(message)

    @step(name=unique(), retry=Retry(limit=0), keep="-")
    def ship(order: dict[str, Any]) -> None:
        raise InDoubt("no answer")

    @ship.reconcile(name=unique())
    def find(order: dict[str, Any], ctx: StepContext) -> NotDone | Unknown | None:
        return Unknown(f"nobody knows {ctx.output(pay)}") if not asked else NotDone()

    @step(name=unique(), retry=Retry(limit=0), keep="-")
    def refuse(order: dict[str, Any], ctx: StepContext) -> None:
        raise FailStep(f"refused {ctx.output(pay)}")

    with Scratch(tmp_path) as scratch:
        for last in (ship, refuse):
            handle = scratch.run(Pipeline(unique("p"), [pay, last], sensitive=("card",)), INPUT)
            said = said_of(scratch, handle, caplog)
            assert "[masked]" in said
            assert [one for one in (CARD, TOKEN, "id-of-the-bank") if one in said] == []
    assert asked == [{"token": TOKEN}]


def test_an_idempotency_key_that_cannot_be_made_is_told_without_the_input(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It was made when the run was enqueued; a deploy may have changed how."""
    calls: list[str] = []

    def key(order: dict[str, Any]) -> str:
        calls.append("called")
        if 1 < len(calls) < 3:
            raise KeyError(order["card"])
        return "o-1"

    with Scratch(tmp_path) as scratch:
        handle = run_alone(scratch, lambda_named(lambda order: {"token": TOKEN}), idempotency_key=key)
        assert CARD not in said_of(scratch, handle, caplog)
    assert len(calls) > 2


def lambda_named(function: Callable[[Any], Any]) -> Callable[[dict[str, Any]], Any]:
    def named(order: dict[str, Any]) -> Any:
        return function(order)

    return named

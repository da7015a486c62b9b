"""What follows from each outcome of an attempt, in each situation."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Final

import pytest

from backout.identifiers import RunId
from backout.pipelines.contract import OnCompensationFailure, OnFailure, Plan, StepContract
from backout.states import Direction, ReviewReason
from backout.tasks.advance import Situation, advance
from backout.tasks.decisions import (
    Ask,
    Decision,
    Doubt,
    GiveBack,
    GoOn,
    Park,
    TryAgain,
    TurnBack,
    UndoNext,
    Way,
)
from backout.tasks.outcome import (
    ErrorFacts,
    Failed,
    Lost,
    NeedsHuman,
    Outcome,
    Parked,
    RetryLater,
    Skipped,
    Succeeded,
)
from tests.support.runs import contract, undoing

ERROR: Final = ErrorFacts(type="builtins.OSError", message="broken")

SUCCEEDED: Final = Succeeded(output={"id": "ch-1"})
SKIPPED: Final = Skipped(reason="nothing to charge")
RETRY: Final = RetryLater(error=ERROR, delay_seconds=10.0)
FAILED: Final = Failed(error=ERROR)
NO_EFFECT: Final = Failed(error=ERROR, no_effect=True)
PARKED: Final = Parked(error=ERROR)
ASKED: Final = NeedsHuman(error=ERROR, review=ReviewReason.CREDENTIALS_FAILED)
LOST: Final = Lost(reason="its worker was killed")
OUTCOMES: Final[tuple[Outcome, ...]] = (SUCCEEDED, SKIPPED, RETRY, FAILED, NO_EFFECT, PARKED, ASKED, LOST)

FORWARD: Final = Direction.FORWARD
BACK: Final = Direction.COMPENSATION
LIMIT: Final = 3


def situation(
    outcome_of: StepContract,
    *,
    direction: Direction = FORWARD,
    is_idempotent: bool = False,
    lost_attempts: int = 0,
    is_last: bool = False,
) -> Situation:
    """Return an attempt of the middle step of three, or of the last of two."""
    steps = (contract("reserve_stock"), outcome_of, contract("book_courier"))
    return Situation(
        run_id=RunId("run"),
        plan=Plan(pipeline="fulfil_order", steps=steps[:2] if is_last else steps),
        position=1,
        direction=direction,
        last_done=steps[0],
        is_idempotent=is_idempotent,
        lost_attempts=lost_attempts,
        lost_attempts_limit=LIMIT,
    )


def step(
    on_failure: OnFailure = OnFailure.ROLLBACK,
    on_compensation_failure: OnCompensationFailure = OnCompensationFailure.HALT,
) -> StepContract:
    return contract(
        "charge_card",
        **undoing("refund the charge", on_failure=on_compensation_failure),
        on_failure=on_failure,
    )


def expected(
    outcome: Outcome,
    direction: Direction,
    on_failure: OnFailure,
    on_compensation_failure: OnCompensationFailure,
    *,
    is_idempotent: bool,
    lost_attempts: int,
) -> Decision | type[GoOn]:
    """Say the same as a table: the first row that fits. `GoOn` stands for any, its words have tests of their own."""
    is_over = lost_attempts + 1 >= LIMIT
    is_failure = isinstance(outcome, Failed)
    no_effect = isinstance(outcome, Failed) and outcome.no_effect
    passes = on_compensation_failure is OnCompensationFailure.CONTINUE
    limit_reason = f"its worker was killed; {lost_attempts + 1} attempts ended without an answer, which is the limit"
    exhausted = ReviewReason.RETRIES_EXHAUSTED_AFTER_WRITE
    halted = Ask(error=ERROR, review=ReviewReason.COMPENSATION_FAILED, no_effect=no_effect)
    unconfirmed = ReviewReason.CONFIRMATION_MISSING
    rows: list[tuple[bool, Decision | type[GoOn]]] = [
        # In both directions.
        (outcome is RETRY, TryAgain(outcome=RETRY)),
        (outcome is ASKED, Ask(error=ERROR, review=ReviewReason.CREDENTIALS_FAILED)),
        (outcome is LOST and not is_idempotent, Doubt(reason="its worker was killed", review=unconfirmed)),
        (outcome is LOST and not is_over, GiveBack(reason="its worker was killed")),
        (outcome is LOST, Doubt(reason=limit_reason, review=unconfirmed)),
        # Back.
        (direction is BACK and outcome is SUCCEEDED, UndoNext(outcome=SUCCEEDED)),
        (direction is BACK and outcome is SKIPPED, UndoNext(outcome=SKIPPED)),
        (direction is BACK and outcome is FAILED and passes, UndoNext(outcome=FAILED)),
        (direction is BACK and outcome is NO_EFFECT and passes, UndoNext(outcome=NO_EFFECT)),
        (direction is BACK, halted),
        # Forward.
        (outcome in (SUCCEEDED, SKIPPED), GoOn),
        (outcome is PARKED, Park(error=ERROR, no_effect=False)),
        (is_failure and on_failure is OnFailure.ROLLBACK, TurnBack(outcome=NO_EFFECT if no_effect else FAILED)),
        (is_failure and on_failure is OnFailure.PARK, Park(error=ERROR, no_effect=no_effect)),
        (is_failure and on_failure is OnFailure.CONTINUE, GoOn),
        (is_failure, Ask(error=ERROR, review=exhausted, no_effect=no_effect)),
    ]
    return next(decision for fits, decision in rows if fits)


@pytest.mark.parametrize("outcome", OUTCOMES, ids=lambda outcome: type(outcome).__name__)
@pytest.mark.parametrize("direction", [FORWARD, BACK])
@pytest.mark.parametrize("on_failure", OnFailure)
def test_every_outcome_in_every_situation_leads_to_the_decision_of_the_table(
    outcome: Outcome, direction: Direction, on_failure: OnFailure
) -> None:
    """The outcome, the direction and the contract alone decide what is recorded and what comes next."""
    for on_compensation_failure, is_idempotent, lost in itertools.product(OnCompensationFailure, (False, True), (0, 5)):
        here = situation(
            step(on_failure, on_compensation_failure),
            direction=direction,
            is_idempotent=is_idempotent,
            lost_attempts=lost,
        )
        wanted = expected(
            outcome, direction, on_failure, on_compensation_failure, is_idempotent=is_idempotent, lost_attempts=lost
        )
        decision = advance(here, outcome)
        assert isinstance(decision, GoOn) if wanted is GoOn else decision == wanted


def test_end_of_a_step_makes_the_next_one_due() -> None:
    """A success is recorded together with the step that follows it in the plan."""
    here = situation(step())
    assert advance(here, SUCCEEDED) == GoOn(
        outcome=SUCCEEDED,
        onward=Way(
            following=here.plan.steps[2],
            position=2,
            key="run:book_courier",
            operator_state="charge_card_done_book_courier_pending",
        ),
    )


def test_end_of_the_last_step_ends_the_run() -> None:
    """After the last step nothing follows."""
    assert advance(situation(step(), is_last=True), SUCCEEDED) == GoOn(
        outcome=SUCCEEDED, onward=Way(following=None, operator_state="charge_card_done")
    )


@pytest.mark.parametrize(
    ("lost_attempts", "decision"),
    [(0, GiveBack), (1, GiveBack), (2, Doubt), (3, Doubt)],
)
def test_idempotent_step_is_tried_again_until_it_was_lost_too_often(
    lost_attempts: int, decision: type[Decision]
) -> None:
    """The attempt that reaches the limit of lost ones asks a person instead of being tried again (R8)."""
    here = situation(step(), is_idempotent=True, lost_attempts=lost_attempts)
    assert isinstance(advance(here, LOST), decision)


@pytest.mark.parametrize("direction", [FORWARD, BACK])
def test_lost_attempt_of_a_step_that_is_not_idempotent_asks_a_person_at_once(direction: Direction) -> None:
    """A step in doubt is run again only if that is safe, in either direction (R8)."""
    assert isinstance(advance(situation(step(), direction=direction), LOST), Doubt)


CREATE_LEAD: Final = contract("create_lead", done="lead_created", pending="lead_pending")
ENRICH_LEAD: Final = contract("enrich_lead", done="lead_enriched", pending="enrichment_pending")
RESERVE: Final = contract("reserve_booking", done="booking_reserved")
NOTIFY: Final = contract("notify", failed="notification_failed", on_failure=OnFailure.CONTINUE)


def after(plan: tuple[StepContract, ...], position: int, last_done: StepContract | None) -> Situation:
    blank = situation(step())
    return replace(blank, plan=Plan(pipeline="words", steps=plan), position=position, last_done=last_done)


@pytest.mark.parametrize(
    ("here", "outcome", "words"),
    [
        (after((CREATE_LEAD, ENRICH_LEAD), 0, None), SUCCEEDED, "lead_created_enrichment_pending"),
        (after((CREATE_LEAD, ENRICH_LEAD), 1, CREATE_LEAD), SUCCEEDED, "lead_enriched"),
        (after((RESERVE, NOTIFY), 1, RESERVE), FAILED, "booking_reserved_notification_failed"),
        (after((RESERVE, NOTIFY), 1, RESERVE), SKIPPED, "booking_reserved"),
        (after((CREATE_LEAD, ENRICH_LEAD), 0, None), SKIPPED, "enrichment_pending"),
        (after((RESERVE, NOTIFY, ENRICH_LEAD), 1, RESERVE), FAILED, "booking_reserved_enrichment_pending"),
        (after((NOTIFY,), 0, None), FAILED, "notification_failed"),
        (after((NOTIFY,), 0, None), SKIPPED, "nothing_to_do"),
    ],
)
def test_operator_state_says_what_holds_and_what_is_missing(here: Situation, outcome: Outcome, words: str) -> None:
    """An operator reads the last thing done and the next thing due or failed, in the contracts' own words."""
    decision = advance(here, outcome)
    assert isinstance(decision, GoOn)
    assert decision.onward.operator_state == words


def test_attempt_of_a_step_without_compensation_contract_halts_when_its_undoing_fails() -> None:
    """A plan whose step has lost its compensation's contract is handed to a person, never passed over."""
    here = situation(contract("charge_card"), direction=BACK)
    assert advance(here, FAILED) == Ask(error=ERROR, review=ReviewReason.COMPENSATION_FAILED)

"""What a rollback would do, computed from the recorded steps."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backout.compensations.plan import RollbackPlan, Undo, plan_rollback
from backout.ledger.records import StepRecord
from backout.pipelines.contract import Effect, Plan, RecoveryKind, StepContract
from backout.states import Direction, StepState
from tests.support.records import step_record
from tests.support.runs import contract, question, undoing

READ = contract("check_address", effect=Effect.READ, recovery=RecoveryKind.NOTHING_TO_UNDO, recovery_reason="")
RESERVE = contract("reserve_stock", **undoing("release the stock"))
CHARGE = contract("charge_card", **undoing("refund the charge"))
KEEP = contract("write_lead", recovery=RecoveryKind.KEEP, recovery_reason="it is useful by itself")
SHIP = contract("ship_parcel", recovery=RecoveryKind.IRREVERSIBLE, recovery_reason="it has left the house")

STARTED = (StepState.SUCCEEDED, StepState.FAILED, StepState.IN_DOUBT)
"""States in which the effect of a step exists or may exist."""


def plan_of(*contracts: StepContract) -> Plan:
    return Plan(pipeline="fulfil_order", steps=contracts)


def forward(plan: Plan, position: int, state: StepState = StepState.SUCCEEDED, **values: Any) -> StepRecord:
    return step_record(plan.steps[position].name, position, state, **values)


def compensation(plan: Plan, position: int, state: StepState, **values: Any) -> StepRecord:
    return step_record(plan.steps[position].name, position, state, direction=Direction.COMPENSATION, **values)


def undone(rollback: RollbackPlan) -> list[str]:
    return [line.contract.name for line in rollback.compensations]


def test_steps_are_undone_in_the_reverse_of_the_order_in_which_they_started() -> None:
    """The last that started is the first that is undone (R5), whatever the order of the rows and of the plan."""
    plan = plan_of(RESERVE, CHARGE, contract("book_courier", **undoing("cancel the courier")))
    steps = [forward(plan, 1, start_order=3), forward(plan, 0, start_order=1), forward(plan, 2, start_order=2)]
    assert undone(plan_rollback(plan, steps)) == ["charge_card", "book_courier", "reserve_stock"]


@pytest.mark.parametrize(
    ("state", "error"),
    [(StepState.FAILED, {"type": "backout.FailStep", "no_effect": True}), (StepState.SKIPPED, None)],
)
def test_what_the_last_attempt_says_of_itself_says_nothing_about_a_lost_one(
    state: StepState, error: dict[str, Any] | None
) -> None:
    """An earlier attempt that never answered may have had the effect: it is undone, or asked about."""
    plan = plan_of(CHARGE)
    assert undone(plan_rollback(plan, [forward(plan, 0, state, error=error, lost_attempts=1)])) == ["charge_card"]
    assert undone(plan_rollback(plan, [forward(plan, 0, state, error=error, lost_attempts=0)])) == []


def test_uncertain_step_is_asked_about_first() -> None:
    """A recorded success is certain; a failure is not, where somebody can be asked."""
    asked = contract("charge_card", **undoing("refund"), reconcile=question("shop.find_charge"))
    plan = plan_of(asked)
    for state, asks in ((StepState.SUCCEEDED, False), (StepState.FAILED, True), (StepState.IN_DOUBT, True)):
        [line] = plan_rollback(plan, [forward(plan, 0, state)]).undos
        assert line.asks_first is asks
    plan = plan_of(CHARGE)
    [line] = plan_rollback(plan, [forward(plan, 0, StepState.FAILED)]).undos
    assert not line.asks_first


def test_line_of_a_compensation_names_its_action_and_its_step() -> None:
    """A preview can say what would be done without asking anybody else."""
    plan = plan_of(CHARGE)
    step = forward(plan, 0)
    [line] = plan_rollback(plan, [step]).undos
    assert (line.forward, line.contract, line.undo, line.reason) == (
        step,
        CHARGE,
        Undo.COMPENSATE,
        "refund the charge",
    )


@pytest.mark.parametrize("state", STARTED)
def test_step_that_may_have_happened_is_compensated(state: StepState) -> None:
    """A step that failed or is in doubt is undone as one that succeeded: its effect may exist."""
    plan = plan_of(RESERVE, CHARGE)
    steps = [forward(plan, 0), forward(plan, 1, state)]
    assert undone(plan_rollback(plan, steps)) == ["charge_card", "reserve_stock"]


@pytest.mark.parametrize("state", [StepState.PENDING, StepState.READY, StepState.RETRY_SCHEDULED, StepState.WAITING])
def test_step_that_waits_for_another_attempt_is_compensated(state: StepState) -> None:
    """An attempt that failed or was lost may have had its effect, although another one is still to come."""
    plan = plan_of(RESERVE, CHARGE)
    steps = [forward(plan, 0), forward(plan, 1, state, attempt=1)]
    assert undone(plan_rollback(plan, steps)) == ["charge_card", "reserve_stock"]


@pytest.mark.parametrize("state", [StepState.PENDING, StepState.READY])
def test_step_that_never_started_has_no_line(state: StepState) -> None:
    """What was never attempted is neither undone nor listed."""
    plan = plan_of(RESERVE, CHARGE)
    steps = [forward(plan, 0), forward(plan, 1, state, attempt=0)]
    assert [line.contract.name for line in plan_rollback(plan, steps).undos] == ["reserve_stock"]


def test_failure_without_effect_is_skipped() -> None:
    """Where the step said that nothing happened there is nothing to undo."""
    plan = plan_of(RESERVE, CHARGE)
    error = {"type": "backout.FailStep", "message": "no such card", "no_effect": True}
    rollback = plan_rollback(plan, [forward(plan, 0), forward(plan, 1, StepState.FAILED, error=error)])
    assert [(line.contract.name, line.undo) for line in rollback.undos] == [
        ("charge_card", Undo.SKIP),
        ("reserve_stock", Undo.COMPENSATE),
    ]
    assert rollback.undos[0].reason == "the step said that nothing happened"


@pytest.mark.parametrize(
    ("step", "state", "undo", "reason"),
    [
        (CHARGE, StepState.SKIPPED, Undo.SKIP, "the step itself was skipped"),
        (READ, StepState.SUCCEEDED, Undo.SKIP, "it only reads"),
        (READ, StepState.FAILED, Undo.SKIP, "it only reads"),
        (KEEP, StepState.SUCCEEDED, Undo.KEEP, "it is useful by itself"),
        (KEEP, StepState.FAILED, Undo.KEEP, "it is useful by itself"),
        (SHIP, StepState.SUCCEEDED, Undo.KEEP, "cannot be undone: it has left the house"),
        (SHIP, StepState.SKIPPED, Undo.SKIP, "the step itself was skipped"),
    ],
)
def test_step_that_is_not_undone_says_why(step: StepContract, state: StepState, undo: Undo, reason: str) -> None:
    """Kept and skipped steps stay in the plan, each with its reason."""
    plan = plan_of(step)
    [line] = plan_rollback(plan, [forward(plan, 0, state)]).undos
    assert (line.undo, line.reason) == (undo, reason)


@pytest.mark.parametrize("state", STARTED)
def test_irreversible_step_that_may_have_happened_blocks(state: StepState) -> None:
    """No automatic rollback crosses an irreversible step that happened or may have happened (R7)."""
    plan = plan_of(RESERVE, SHIP, CHARGE)
    steps = [forward(plan, 0), forward(plan, 1, state), forward(plan, 2, StepState.FAILED)]
    rollback = plan_rollback(plan, steps)
    assert rollback.blocked_by == steps[1]
    assert undone(rollback) == ["charge_card", "reserve_stock"]


@pytest.mark.parametrize(
    "step",
    [
        step_record("ship_parcel", 1, StepState.SKIPPED),
        step_record("ship_parcel", 1, StepState.FAILED, error={"type": "FailStep", "no_effect": True}),
        step_record("ship_parcel", 1, StepState.READY, attempt=0),
    ],
    ids=lambda step: step.state.value,
)
def test_irreversible_step_that_did_not_happen_blocks_nothing(step: StepRecord) -> None:
    """What has not happened needs no undoing, so the way back is free."""
    plan = plan_of(RESERVE, SHIP)
    assert plan_rollback(plan, [forward(plan, 0), step]).blocked_by is None


def test_last_of_several_irreversible_steps_is_the_one_that_blocks() -> None:
    """The review names the step at which the walk back would stop first."""
    again = contract("publish_page", recovery=RecoveryKind.IRREVERSIBLE, recovery_reason="people have read it")
    plan = plan_of(SHIP, again)
    steps = [forward(plan, 0), forward(plan, 1)]
    assert plan_rollback(plan, steps).blocked_by == steps[1]


def test_later_round_is_undone_before_an_earlier_one() -> None:
    """A restart's steps started after all steps of the rounds before it."""
    plan = plan_of(RESERVE, CHARGE)
    steps = [forward(plan, 0), forward(plan, 1, round=2), forward(plan, 0, round=2)]
    lines = plan_rollback(plan, steps).compensations
    assert [(line.forward.round, line.contract.name) for line in lines] == [
        (2, "charge_card"),
        (2, "reserve_stock"),
        (1, "reserve_stock"),
    ]


@pytest.mark.parametrize("state", [StepState.UNDONE, StepState.FAILED, StepState.IN_DOUBT])
def test_step_whose_compensation_succeeded_is_not_undone_again(state: StepState) -> None:
    """A compensation recorded as succeeded runs again only if a person asks (R6)."""
    plan = plan_of(RESERVE, CHARGE)
    steps = [
        forward(plan, 0),
        forward(plan, 1, state),
        compensation(plan, 1, StepState.SUCCEEDED),
        forward(plan, 1, StepState.FAILED, round=2),
    ]
    lines = plan_rollback(plan, steps).compensations
    assert [(line.forward.round, line.contract.name) for line in lines] == [(2, "charge_card"), (1, "reserve_stock")]


def test_rollback_to_a_step_leaves_it_and_what_stands_before_it() -> None:
    """What is at or before the step stays; also an irreversible step there does not block the way."""
    plan = plan_of(RESERVE, SHIP, CHARGE, contract("book_courier", **undoing("cancel the courier")))
    rollback = plan_rollback(plan, [forward(plan, position) for position in range(4)], to_position=1)
    assert (undone(rollback), rollback.blocked_by) == (["book_courier", "charge_card"], None)


def test_nothing_recorded_leaves_nothing_to_undo() -> None:
    """An empty record makes an empty plan."""
    rollback = plan_rollback(plan_of(RESERVE), [])
    assert (rollback.undos, rollback.compensations, rollback.blocked_by) == ((), (), None)


CONTRACTS = (READ, RESERVE, CHARGE, KEEP, SHIP)
ERRORS = (None, {"type": "OSError", "message": "broken"}, {"type": "FailStep", "message": "no", "no_effect": True})


@st.composite
def recorded_runs(draw: st.DrawFn) -> tuple[Plan, list[StepRecord]]:
    """A plan of any contracts, and any rows of up to three rounds in any order."""
    kinds = draw(st.lists(st.sampled_from(CONTRACTS), min_size=1, max_size=5))
    plan = plan_of(*(contract(f"step_{number}", **fields_of(kind)) for number, kind in enumerate(kinds)))
    rows = []
    for round_number in range(1, draw(st.integers(1, 3)) + 1):
        orders = draw(st.permutations(range(1, len(kinds) + 1)))
        for position, order in enumerate(orders):
            values = {"round": round_number, "start_order": order, "attempt": draw(st.integers(0, 3))}
            state = draw(st.sampled_from([s for s in StepState if s is not StepState.RUNNING]))
            rows.append(forward(plan, position, state, error=draw(st.sampled_from(ERRORS)), **values))
            if draw(st.booleans()):
                rows.append(compensation(plan, position, draw(st.sampled_from(list(StepState))), round=round_number))
    return plan, draw(st.permutations(rows))


def fields_of(kind: StepContract) -> dict[str, object]:
    return {
        "effect": kind.effect,
        "recovery": kind.recovery,
        "recovery_reason": kind.recovery_reason,
        "compensation": kind.compensation,
    }


def expected(plan: Plan, rows: Sequence[StepRecord]) -> list[StepRecord]:
    """Say the same in the words of the rules: started, possibly happened, compensable, not compensated yet."""
    compensated = {
        (row.round, row.position)
        for row in rows
        if row.direction is Direction.COMPENSATION and row.state is StepState.SUCCEEDED
    }
    waits = (StepState.PENDING, StepState.READY, StepState.RETRY_SCHEDULED, StepState.WAITING)
    wanted = []
    for row in rows:
        said_no_effect = row.state is StepState.FAILED and (row.error or {}).get("no_effect", False)
        happened = row.state in STARTED or (row.state in waits and row.attempt > 0)
        compensable = plan.steps[row.position].recovery is RecoveryKind.COMPENSATE
        is_open = row.direction is Direction.FORWARD and (row.round, row.position) not in compensated
        if is_open and happened and compensable and not said_no_effect:
            wanted.append(row)
    return sorted(wanted, key=lambda row: (row.round, row.start_order), reverse=True)


@settings(deadline=None, max_examples=300)
@given(recorded_runs())
def test_compensations_are_exactly_those_needed_in_strictly_descending_order(
    recorded: tuple[Plan, list[StepRecord]],
) -> None:
    """Whatever is recorded: each step that needs undoing is undone once, and the later one first."""
    plan, rows = recorded
    rollback = plan_rollback(plan, rows)
    lines = [line.forward for line in rollback.compensations]
    assert lines == expected(plan, rows)
    orders = [(row.round, row.start_order) for row in lines]
    assert all(earlier > later for earlier, later in pairwise(orders))
    assert len({row.key for row in lines}) == len(lines)


@settings(deadline=None)
@given(recorded_runs())
def test_way_is_blocked_exactly_by_an_irreversible_step_that_may_have_happened(
    recorded: tuple[Plan, list[StepRecord]],
) -> None:
    """Whatever is recorded: the block is the last started irreversible step, if there is one at all (R7)."""
    plan, rows = recorded
    as_if = Plan(
        pipeline=plan.pipeline,
        steps=tuple(
            contract(step.name, **undoing("undo"))
            if step.recovery is RecoveryKind.IRREVERSIBLE
            else contract(step.name, recovery=RecoveryKind.KEEP)
            for step in plan.steps
        ),
    )
    candidates = expected(as_if, rows)
    assert plan_rollback(plan, rows).blocked_by == (candidates[0] if candidates else None)


def test_result_of_another_run_is_not_undone_and_blocks_nothing() -> None:
    """A success whose key this run does not hold was taken from another run: only that run may undo it."""
    keyed = contract("charge_once", has_own_key=True, **undoing("refund the charge"))
    shipped = contract("ship_once", has_own_key=True, recovery=RecoveryKind.IRREVERSIBLE, recovery_reason="gone")
    plan = plan_of(keyed, shipped)
    rollback = plan_rollback(plan, [forward(plan, 0), forward(plan, 1)])
    assert (undone(rollback), rollback.blocked_by) == ([], None)
    own = [forward(plan, 0, exclusive_key="charge_once:1"), forward(plan, 1, exclusive_key="ship_once:1")]
    assert undone(plan_rollback(plan, own[:1])) == ["charge_once"]
    assert plan_rollback(plan, own).blocked_by == own[1]

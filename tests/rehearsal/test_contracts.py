"""What a contract says about failures is what a rehearsal shows."""

from __future__ import annotations

from typing import Any

import pytest

from backout import Pipeline, RunState, Step, step
from backout.pipelines.decorators import DecoratedStep
from backout.testing import Rehearsal, RehearsedCase, Why, find_places, make_stand_ins, rehearse
from tests.support.definitions import unique


def act(order: str) -> str:
    return order


def undo(order: str, output: str | None) -> None: ...


def is_live(order: str, output: str) -> bool:
    return True


def make(**contract: Any) -> DecoratedStep[..., Any]:
    made: DecoratedStep[..., Any] = step(name=unique("step"), **contract)(act)
    return made


def make_undone(*, on_undo_failure: str = "halt", **contract: Any) -> DecoratedStep[..., Any]:
    made = make(**contract)
    made.compensation(action="undo it", name=unique("undo"), on_failure=on_undo_failure)(undo)  # type: ignore[arg-type] # one of two words
    return made


def rehearse_steps(*steps: Step[..., Any], places: str = "*") -> Rehearsal:
    pipeline = Pipeline(unique("pipeline"), steps)
    return rehearse(pipeline, "o-1", stand_ins=make_stand_ins(pipeline), places=[places])


def case_of(rehearsal: Rehearsal, made: Step[..., Any], what: str) -> RehearsedCase:
    (found,) = [case for case in rehearsal.cases if case.place.id == f"{made.name}:{what}"]
    return found


def test_run_that_parks_waits_for_a_person() -> None:
    """What was done stays, and somebody has to resume it."""
    first, second = make_undone(), make(keep="it expires", on_failure="park")
    rehearsal = rehearse_steps(first, second, places="*:fails_*")
    case = case_of(rehearsal, second, "fails_after_effect")
    (asked,) = case.asked
    assert (case.state, case.undone, asked.reason, asked.step) == (RunState.PARKED, (), "parked", second.name)
    assert asked.text == f"FailStep: rehearsal: {second.name} fails after its effect"
    assert {left.why for left in case.left_behind} == {Why.HELD}
    assert rehearsal.problems == ()


def test_step_whose_failure_asks_a_person_does() -> None:
    """Nothing is undone before the person has decided."""
    made = make_undone(on_failure="review")
    case = case_of(rehearse_steps(made, places="*:fails_*"), made, "fails_after_effect")
    assert (case.state, len(case.asked), case.undone) == (RunState.IN_REVIEW, 1, ())


def test_compensation_that_may_fail_is_passed_over() -> None:
    """The rollback goes on, and what is left is by contract."""
    first, second = make_undone(), make_undone(on_undo_failure="continue")
    rehearsal = rehearse_steps(first, second, places="*:undo_fails*")
    case = case_of(rehearsal, second, "undo_fails_before_effect")
    assert (case.state.is_final, case.asked, case.undone) == (True, (), (first.name,))
    assert [(left.step, left.why) for left in case.left_behind] == [(second.name, Why.PASSED_OVER)]
    assert rehearsal.problems == ()


def test_failure_that_is_passed_over_is_by_contract() -> None:
    """The run succeeds; the effect of the step that failed is still there."""
    made = make_undone(on_failure="continue")
    case = case_of(rehearse_steps(make(effect="read"), made, places="*:fails_after*"), made, "fails_after_effect")
    assert (case.state, [left.why for left in case.left_behind]) == (RunState.SUCCEEDED, [Why.PASSED_OVER])


def test_compensation_that_no_failure_leads_to_has_no_place() -> None:
    """An irreversible step is in the way of each rollback that would come by."""
    first, second = make_undone(on_failure="park"), make(irreversible="it is sent")
    plan = Pipeline(unique("pipeline"), [first, second]).plan
    assert not any(place.is_undo for place in find_places(plan))


def test_irreversible_step_in_the_way_asks_a_person() -> None:
    """No rollback crosses it (R7)."""
    first, second, third = make_undone(), make(irreversible="it is sent"), make(keep="it expires")
    case = case_of(rehearse_steps(first, second, third, places="*:fails_*"), third, "fails_before_effect")
    assert [(one.reason, one.step) for one in case.asked] == [("irreversible_passed", third.name)]
    assert [left.step for left in case.left_behind] == [first.name, second.name]


def test_what_is_published_is_seen_by_its_stand_in() -> None:
    """The next step starts only then."""
    published = make_undone(effect="publish")
    published.verify(name=unique("is_live"))(is_live)
    rehearsal = rehearse_steps(published, make(effect="read"))
    assert rehearsal.problems == ()
    assert case_of(rehearsal, published, "dies_at_after_send").state is RunState.SUCCEEDED


def test_step_with_a_key_of_its_own_is_run_in_each_case() -> None:
    """The cases share no ledger: otherwise the second one would take the result of the first."""
    made = make_undone(idempotency_key=lambda order: order)
    rehearsal = rehearse_steps(made)
    rehearsal.assert_nothing_done_twice()
    called = [case for case in rehearsal.cases if any(call.step == made.name for call in case.calls)]
    assert len(called) == len(rehearsal.cases) - 1  # all but the failure before the effect


def test_step_used_twice_is_two_steps() -> None:
    """Under two names, with places and stand-ins of their own."""
    made = make_undone()
    again = made.named(unique("again"))
    pipeline = Pipeline(unique("pipeline"), [made, again])
    rehearsal = rehearse(
        pipeline, "o-1", stand_ins={made: lambda order: "first", again: lambda order: "second"}, places=["*fails_*"]
    )
    case = case_of(rehearsal, again, "fails_after_effect")
    assert (case.undone, case.done_twice) == ((again.name, made.name), ())


@pytest.mark.parametrize("what", ["dies_after_effect", "undo_dies_after_effect"])
def test_early_acknowledged_step_is_found_by_the_sweeper(what: str) -> None:
    """Its message is gone with its worker."""
    made = make_undone(ack="early", idempotent=True)
    case = case_of(rehearse_steps(made, places=f"*:{what}"), made, what)
    assert case.state.is_settled
    assert case.done_twice == ()

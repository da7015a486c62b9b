"""A rehearsal shows what each failure leads to, on the real engine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from backout import ConfigurationError, InvalidInput, NotDone, RunState, Unknown
from backout.faultpoints import FaultPoint
from backout.testing import Place, PlaceKind, Rehearsal, RehearsedCase, Why, find_places, make_stand_ins, rehearse
from backout.testing.rehearsal.stand_ins import StandIns
from tests.rehearsal import shop
from tests.rehearsal.shop import Charge, Order


def case_of(rehearsal: Rehearsal, place: str) -> RehearsedCase:
    (found,) = [case for case in rehearsal.cases if case.place.id == place]
    return found


def rehearse_one(place: str, **stand_ins: Any) -> RehearsedCase:
    """Rehearse one place of the shop with made-up functions, and these instead of some of them."""
    given = {**make_stand_ins(shop.SHOP), **stand_ins}
    (case,) = rehearse(shop.SHOP, shop.ORDER, stand_ins=given, places=[place]).cases
    return case


def left(case: RehearsedCase) -> list[tuple[str, Why]]:
    return [(one.step, one.why) for one in case.left_behind]


def test_every_place_is_rehearsed_and_reached(rehearsal: Rehearsal) -> None:
    """No place of a sound pipeline is out of reach."""
    assert tuple(case.place for case in rehearsal.cases) == find_places(shop.SHOP.plan)
    assert [case.place.id for case in rehearsal.cases if not case.was_reached] == []


def test_every_run_ends_or_waits_for_a_person(rehearsal: Rehearsal) -> None:
    """No run is silent, whatever fails (R4), and only one that waits asks."""
    for case in rehearsal.cases:
        assert case.state.is_settled
        assert bool(case.asked) == (not case.state.is_final), case.place.id


def test_nothing_is_done_twice_and_nothing_forgotten(rehearsal: Rehearsal) -> None:
    """The engine keeps its promises at each place."""
    rehearsal.assert_nothing_done_twice()
    assert rehearsal.problems == ()


def test_smooth_run_succeeds_and_leaves_nothing_behind(rehearsal: Rehearsal) -> None:
    """What a run was for is not left behind."""
    case = case_of(rehearsal, "smooth")
    assert (case.state, case.undone, case.left_behind, case.asked) == (RunState.SUCCEEDED, (), (), ())
    assert [call.what for call in case.calls] == ["check_order", "reserve", "charge", "book", "tell"]


def test_failure_before_the_effect_undoes_what_was_done(rehearsal: Rehearsal) -> None:
    """In reverse order of start; the step's own reconcile function says that it has not happened."""
    case = case_of(rehearsal, "charge:fails_before_effect")
    assert (case.state, case.undone, left(case)) == (RunState.ROLLED_BACK, ("reserve",), [])
    assert case.operator_state == "charge_failed_rolled_back"


def test_failure_after_the_effect_undoes_the_step_too(rehearsal: Rehearsal) -> None:
    """The effect exists although the step is recorded as failed."""
    case = case_of(rehearsal, "charge:fails_after_effect")
    assert (case.state, case.undone, left(case)) == (RunState.ROLLED_BACK, ("charge", "reserve"), [])


def test_what_is_kept_by_contract_is_left_behind_with_its_reason(rehearsal: Rehearsal) -> None:
    """The reader sees the contract's own words."""
    case = case_of(rehearsal, "book:fails_after_effect")
    assert case.undone == ("charge", "reserve")
    (kept,) = case.left_behind
    assert (kept.step, kept.why, kept.reason) == ("book", Why.KEPT, "an unused booking expires by itself")


def test_failure_that_is_passed_over_leaves_its_effect_behind(rehearsal: Rehearsal) -> None:
    """The run succeeds and does not know that the customer was told."""
    case = case_of(rehearsal, "tell:fails_after_effect")
    assert (case.state, left(case)) == (RunState.SUCCEEDED, [("tell", Why.IRREVERSIBLE)])


def test_death_of_an_idempotent_step_is_repaired(rehearsal: Rehearsal) -> None:
    """It runs again under the same key; a call is not an effect."""
    case = case_of(rehearsal, "reserve:dies_after_effect")
    calls = [call for call in case.calls if call.step == "reserve"]
    assert [(call.attempt, call.had_effect) for call in calls] == [(1, True), (2, True)]
    assert len({call.key for call in calls}) == 1
    assert (case.state, case.done_twice) == (RunState.SUCCEEDED, ())


def test_death_of_a_step_that_can_be_asked_about_is_repaired(rehearsal: Rehearsal) -> None:
    """Its reconcile function says that it has happened, and it is not run again."""
    case = case_of(rehearsal, "charge:dies_after_effect")
    assert case.state is RunState.SUCCEEDED
    assert [call.what for call in case.calls].count("charge") == 1


def test_death_that_nobody_can_clear_up_asks_a_person(rehearsal: Rehearsal) -> None:
    """With the reason and in words; what was done is held, not left behind."""
    case = case_of(rehearsal, "book:dies_after_effect")
    (asked,) = case.asked
    assert (case.state, asked.reason, asked.step) == (RunState.IN_REVIEW, "confirmation_missing", "book")
    assert asked.text
    assert {one.why for one in case.left_behind} == {Why.HELD}


def test_nothing_of_a_dead_process_is_recorded(rehearsal: Rehearsal) -> None:
    """Its attempt is ended by who finds it dead, and never as a shutdown."""
    deaths = [case for case in rehearsal.cases if case.place.kind is PlaceKind.DIES_AFTER_EFFECT]
    assert len(deaths) == 7
    for case in deaths:
        assert not any("shutdown" in line for line in case.story), case.place.id
        assert any("killed" in line or "expired" in line for line in case.story), case.place.id


def test_death_of_the_processes_beside_is_repaired_by_the_sweeper(rehearsal: Rehearsal) -> None:
    """The first message is lost, and once more the one that the sweeper had promised."""
    for point in (FaultPoint.ENQUEUE_COMMITTED, FaultPoint.SWEEP_COMMITTED):
        case = case_of(rehearsal, f"dies_at_{point}")
        resent = [line for line in case.story if line.startswith("message_resent")]
        assert (case.state, len(resent)) == (RunState.SUCCEEDED, 1 + (point is FaultPoint.SWEEP_COMMITTED))


def test_compensation_that_fails_stops_the_rollback(rehearsal: Rehearsal) -> None:
    """What comes before it in the pipeline is not undone either, and a person is asked."""
    case = case_of(rehearsal, "charge:undo_fails_before_effect")
    assert (case.undone, [asked.reason for asked in case.asked]) == ((), ["compensation_failed"])


def test_lie_of_a_reconcile_function_is_found() -> None:
    """It says that the charge did not happen: the engine charges again, and the rehearsal tells."""

    def find_charge(order: Order) -> NotDone:
        return NotDone()

    case = rehearse_one("charge:dies_after_effect", find_charge=find_charge)
    assert (case.state, case.done_twice, case.is_problem) == (RunState.SUCCEEDED, ("charge",), True)


def test_effect_that_a_reconcile_function_denies_is_left_behind() -> None:
    """Nothing in the contract lets it stay."""
    case = rehearse_one("charge:fails_after_effect", find_charge=lambda order: NotDone())
    assert (case.state, case.undone, left(case)) == (RunState.ROLLED_BACK, ("reserve",), [("charge", Why.UNEXPLAINED)])
    assert case.is_problem


def test_stand_in_may_take_the_context_and_raise() -> None:
    """A failure of the stand-in is the step's; short and long delays of its retries are over at once."""
    attempts: list[int] = []

    def reserve(order: Order, ctx: Any) -> str:
        attempts.append(ctx.attempt)
        raise TimeoutError("no answer")

    case = rehearse_one("smooth", reserve=reserve)
    assert (attempts, case.state, case.is_problem) == ([1, 2, 3], RunState.ROLLED_BACK, True)
    assert not any(call.had_effect for call in case.calls if call.what == "reserve")


def test_own_functions_are_called_where_nothing_stands_in() -> None:
    """A test that has replaced its gateway rehearses its own code."""
    shop.CALLED.clear()
    (case,) = rehearse(shop.SHOP, shop.ORDER, places=["book:fails_after_effect"]).cases
    assert shop.CALLED == ["check_order", "reserve", "charge", "book", "refund", "release"]
    assert case.undone == ("charge", "reserve")


def test_stand_ins_are_named_by_step_companion_or_name() -> None:
    """Each function has one; the shop's own are not called."""
    shop.CALLED.clear()
    stand_ins: StandIns = {
        shop.check_order: lambda order: True,
        "reserve": lambda order: "hold",
        shop.release: lambda order, hold: None,
        shop.charge: lambda order: Charge(charge_id="1"),
        "refund": lambda order, paid, ctx: None,
        shop.find_charge: lambda order: Unknown("the bank is closed"),
        shop.book: lambda order: "booking",
        shop.tell: lambda order: None,
    }
    rehearse(shop.SHOP, shop.ORDER, stand_ins=stand_ins, places=["smooth", "book:fails_after_effect"])
    assert shop.CALLED == []


@pytest.mark.parametrize("places", [["charge:dies"], ["nothing"]])
def test_unknown_place_is_refused_with_those_that_there_are(places: Sequence[str]) -> None:
    """A misspelt pattern would otherwise rehearse nothing and be green."""
    with pytest.raises(ConfigurationError, match="charge:dies_after_effect"):
        rehearse(shop.SHOP, shop.ORDER, places=places)


def test_stand_in_for_nothing_is_refused() -> None:
    """A misspelt name would otherwise let the real function be called."""
    with pytest.raises(ConfigurationError, match="find_charge"):
        rehearse(shop.SHOP, shop.ORDER, stand_ins={"find_charges": lambda order: NotDone()})


def test_input_that_does_not_fit_is_refused() -> None:
    """As by the real enqueue."""
    with pytest.raises(InvalidInput):
        rehearse(shop.SHOP, {"id": 3}, places=["smooth"])


def test_place_may_be_given_as_a_value() -> None:
    """As `find_places` returns it."""
    place = Place(kind=PlaceKind.FAILS_BEFORE_EFFECT, step="once")
    (case,) = rehearse(shop.SMALL, shop.ORDER, places=[place]).cases
    assert case.place is place


def test_cases_are_told_one_by_one() -> None:
    """So that whoever waits sees how far it has come."""
    told: list[str] = []
    rehearse(shop.SMALL, shop.ORDER, places=["smooth"], on_case=lambda case: told.append(case.place.id))
    assert told == ["smooth"]


# what a test asserts


def test_assertion_names_the_place_what_stayed_and_why(rehearsal: Rehearsal) -> None:
    """The developer reads where, what, and what the ledger says happened."""
    with pytest.raises(AssertionError) as failed:
        rehearsal.assert_nothing_left_behind()
    text = str(failed.value)
    assert "book fails after its effect  [book:fails_after_effect]" in text
    assert "book was left behind (kept: an unused booking expires by itself)" in text
    assert "· step_failed book, attempt 1: FailStep: rehearsal: book fails after its effect" in text
    assert "except_for" in text


def test_steps_that_may_stay_are_excepted(rehearsal: Rehearsal) -> None:
    """By step or by name."""
    rehearsal.assert_nothing_left_behind(except_for=[shop.book, "tell"])


def test_assertion_names_what_a_person_is_asked(rehearsal: Rehearsal) -> None:
    """With the reason code; excepted by step or by code."""
    with pytest.raises(AssertionError, match="a person is asked about book: confirmation_missing"):
        rehearsal.assert_nobody_is_asked(except_for=["compensation_failed"])
    rehearsal.assert_nobody_is_asked(except_for=["compensation_failed", "confirmation_missing"])


def test_assertion_names_what_was_done_twice() -> None:
    """With the remedy."""
    stand_ins = {**make_stand_ins(shop.SHOP), "find_charge": lambda order: NotDone()}
    with pytest.raises(AssertionError, match="charge had its effect twice"):
        rehearse(
            shop.SHOP, shop.ORDER, stand_ins=stand_ins, places=["charge:dies_after_effect"]
        ).assert_nothing_done_twice()

"""The boxes of a run's pipeline: their states, their undos, and which of very many."""

from __future__ import annotations

from dataclasses import replace

from backout.pipelines.contract import Plan, RecoveryKind
from backout.states import RunState, StepState
from backout.views.graph import MOST_BOXES, tell_graph
from backout.views.picture import RunPicture
from tests.support.pictures import COMPENSATION, courier_failed, done, picture, step_record
from tests.support.runs import ORDER_PLAN, contract


def told(of: RunPicture) -> list[tuple[str, str, str, str | None]]:
    graph = tell_graph(of)
    assert graph is not None
    return [
        (box.name, str(box.mark), box.undo.words, str(box.undo.mark) if box.undo.mark else None) for box in graph.boxes
    ]


def test_each_step_has_its_state_and_under_it_what_takes_it_back() -> None:
    """In the words of the contract; the undo has a state of its own during a rollback, where there is one."""
    back = [
        step_record("book_courier", StepState.SUCCEEDED, COMPENSATION),
        step_record("charge_card", StepState.RUNNING, COMPENSATION),
        step_record("reserve_stock", StepState.PENDING, COMPENSATION),
        step_record("check_address", StepState.SKIPPED, COMPENSATION),
    ]
    rows = [*done("check_address", "reserve_stock", "charge_card"), courier_failed(), *back]
    assert told(picture(RunState.ROLLING_BACK, rows)) == [
        ("check_address", "✓ succeeded", "nothing to undo", None),
        ("reserve_stock", "✓ succeeded", "undo: release the stock", "○ pending"),
        ("charge_card", "✓ succeeded", "undo: refund the charge", "▶ running"),
        ("book_courier", "✗ failed", "undo: cancel the courier", "✓ undone"),
        ("send_receipt", "· never started", "stays: it does no harm", None),
    ]
    assert told(picture(RunState.PENDING))[0] == ("check_address", "· not started", "nothing to undo", None)


def test_undo_of_an_earlier_round_says_nothing_about_a_step_that_began_again() -> None:
    """After a restart the picture is that of the round that runs."""
    before = step_record("charge_card", StepState.SUCCEEDED, COMPENSATION)
    again = step_record("charge_card", StepState.RUNNING, round=2)
    rows = [step_record("charge_card", StepState.UNDONE), before, again]
    assert told(picture(RunState.RUNNING, rows))[2] == ("charge_card", "▶ running", "undo: refund the charge", None)


def test_way_back_leads_from_each_undo_to_the_step_before_and_not_across_what_stays() -> None:
    """R7: no rollback crosses a step that cannot be undone."""
    graph = tell_graph(picture(RunState.PENDING))
    assert graph is not None
    assert [box.leads_back for box in graph.boxes] == [True, True, True, False, False]
    steps = (ORDER_PLAN.steps[1], contract("ship", recovery=RecoveryKind.IRREVERSIBLE), ORDER_PLAN.steps[2])
    barred = tell_graph(picture(RunState.PENDING, plan=replace(ORDER_PLAN, steps=steps)))
    assert barred is not None
    assert [box.leads_back for box in barred.boxes] == [False, False, False]


def test_very_many_boxes_are_those_around_where_the_run_stands() -> None:
    """With their numbers in the plan; a plan that cannot be read has none."""
    plan = Plan(pipeline="long", steps=tuple(contract(f"step_{number}") for number in range(200)))
    rows = [step_record(f"step_{number}", StepState.SUCCEEDED, plan=plan) for number in range(100)]
    graph = tell_graph(picture(RunState.RUNNING, rows, plan=plan))
    assert graph is not None
    assert len(graph.boxes) == MOST_BOXES
    assert graph.left_out == f"Steps 76 to {75 + MOST_BOXES} of 200: around where the run stands."
    assert graph.boxes[0].number == 76
    assert tell_graph(picture(RunState.RUNNING, plan=None)) is None

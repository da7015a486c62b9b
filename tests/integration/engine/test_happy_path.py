"""What a run does when nothing goes wrong."""

from backout import RollbackOutcome, RunState, StepState
from backout.events import Event
from tests.support.apps import pipelines
from tests.support.ledgers import on_each_stack
from tests.support.stack import Stack
from tests.support.waiting import wait_until


@on_each_stack
def test_run_succeeds_and_bank_has_each_effect_once(stack: Stack) -> None:
    """Each step of a run runs once, in order, and the run ends succeeded."""
    handle, run = stack.run(pipelines.ORDER)
    assert run.state is RunState.SUCCEEDED
    assert run.operator_state == "parcel_done"
    assert run.last_successful_step == "parcel"
    assert run.subject_id == "c-1"
    assert run.attempt_count == 3
    assert run.rollback_outcome is RollbackOutcome.NONE
    assert run.finished_at is not None
    assert stack.states(handle) == {"goods": "succeeded", "money": "succeeded", "parcel": "succeeded"}
    assert stack.world.calls(handle.id) == ["goods", "money", "parcel"]


def test_output_is_typed_and_steps_read_earlier_ones(stack: Stack) -> None:
    """A step reads the recorded outputs of earlier steps in their types, and the run's output is the last step's."""
    handle, run = stack.run(pipelines.SUMMED)
    assert run.state is RunState.SUCCEEDED
    assert handle.output == {
        "type": "Receipt",
        "goods": 1,
        "money": {"step": "money", "attempt": 1},
        "ids": {"goods": "goods-1", "money": "money-1"},
    }
    assert stack.step(handle, "goods").output == {"step": "goods", "attempt": 1}


def test_handle_gives_the_output_in_its_type(stack: Stack) -> None:
    """`handle.output` is an instance of what the last step declares."""
    handle, _ = stack.run(pipelines.ORDER)
    assert handle.output == pipelines.Receipt(step="parcel", attempt=1)


@on_each_stack
def test_external_id_is_committed_while_the_step_runs(stack: Stack) -> None:
    """An external id is in the ledger as soon as the step has recorded it, and stays when the step fails (R14)."""
    handle = stack.start(pipelines.ORDER, {"money": ["fail"]}, faults={f"money {pipelines.INSIDE}": "hold recorded"})
    wait_until(lambda: stack.world.is_reached("recorded"), 15, "the step has recorded an id")
    row = stack.step(handle, "money")
    assert row.state is StepState.RUNNING
    assert row.external_ids == {"money": "money-1"}
    assert handle.status().external_ids == {"goods": "goods-1", "money": "money-1"}
    recorded = [entry for entry in handle.entries() if entry.event is Event.EXTERNAL_ID_RECORDED]
    assert recorded[-1].detail == {"name": "money", "value": "money-1"}
    stack.world.open("recorded")
    assert stack.settle(handle).state is RunState.ROLLED_BACK
    assert stack.step(handle, "money").external_ids == {"money": "money-1"}


def test_what_was_committed_survives_the_failure_of_the_run(stack: Stack) -> None:
    """Outputs, ids and entries that were committed before a failure are unchanged after the rollback (R14)."""
    handle = stack.start(pipelines.ORDER, {"parcel": ["hold:survive", "fail"]})
    wait_until(lambda: stack.world.is_reached("survive"), 15, "the last step runs")
    before = {row.step: (row.output, row.external_ids) for row in handle.steps() if row.step != "parcel"}
    ids, entries = handle.status().external_ids, handle.entries()
    stack.world.open("survive")
    stack.settle(handle)
    for name, kept in before.items():
        assert (stack.step(handle, name).output, stack.step(handle, name).external_ids) == kept
    assert handle.status().external_ids.items() >= ids.items()
    assert handle.entries()[: len(entries)] == entries

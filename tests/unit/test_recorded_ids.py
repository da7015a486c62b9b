"""Which external ids a step records, read off its source; what cannot be seen is said to be unknown."""

import functools
from collections.abc import Callable
from typing import Any

import pytest

from backout.pipelines.contract import Effect, Plan, RecoveryKind, StepContract
from backout.pipelines.definition import PipelineDefinition
from backout.pipelines.recorded_ids import UNSEEN, RecordedIds, read_recorded_ids
from backout.pipelines.warnings import WarningCode, find_warnings
from tests.support.definitions import make
from tests.support.runs import contract


def records_one(order: int, ctx: Any) -> None:
    ctx.record_external_id("message", order)


def records_by_keyword(order: int, context: Any) -> None:
    if context.attempt > 1:
        context.record_external_id(value=order, name="nachricht_ü")


def records_inside(order: int, ctx: Any) -> None:
    def write() -> None:
        ctx.record_external_id("message", order)

    write()


def reads_only(order: int, ctx: Any) -> str:
    return f"{ctx.idempotency_key} {ctx.external_ids}"


def takes_no_context(order: int) -> None: ...


def computes_the_name(order: int, ctx: Any) -> None:
    ctx.record_external_id("message", order)
    ctx.record_external_id(f"message_{order}", order)


def hands_the_context_on(order: int, ctx: Any) -> None:
    records_one(order, ctx)


def keeps_the_method(order: int, ctx: Any) -> None:
    record = ctx.record_external_id
    record("message", order)


def calls_another(order: int, ctx: Any) -> None:
    other = order
    other.record_external_id("message", order)  # type: ignore[attr-defined] # only its source is read


@functools.wraps(reads_only)
def wraps_another(order: int, ctx: Any) -> None:
    ctx.record_external_id("message", order)


from_text: dict[str, Any] = {}
exec("def without_source(order, ctx):\n    pass", from_text)  # there is no file to read


@pytest.mark.parametrize(
    ("function", "names", "is_complete"),
    [
        (records_one, {"message"}, True),
        (records_by_keyword, {"nachricht_ü"}, True),
        (records_inside, {"message"}, True),
        (reads_only, set(), True),
        (takes_no_context, set(), True),
        (computes_the_name, {"message"}, False),
        (hands_the_context_on, set(), False),
        (keeps_the_method, set(), False),
        (calls_another, set(), True),
        (wraps_another, set(), False),
        (from_text["without_source"], set(), False),
        (len, set(), False),
    ],
)
def test_names_are_read_off_the_source(function: Callable[..., Any], names: set[str], is_complete: bool) -> None:
    """Only a literal name is known, and only what cannot escape is known to be all."""
    found = read_recorded_ids(function, data_arguments=1)
    assert found == RecordedIds(names=frozenset(names), is_complete=is_complete)


def test_method_of_an_object_is_read_too() -> None:
    """An existing Celery task is a bound method."""

    class Task:
        def run(self, order: int, ctx: Any) -> None:
            ctx.record_external_id("message", order)

    assert read_recorded_ids(Task().run, data_arguments=1).names == {"message"}


def notify(name: str = "tell") -> StepContract:
    return contract(name, effect=Effect.NOTIFY, idempotent=True, recovery=RecoveryKind.KEEP)


def codes(ids: RecordedIds, effect: Effect = Effect.NOTIFY) -> list[WarningCode]:
    step = contract("tell", effect=effect, idempotent=True)
    return [warning.code for warning in find_warnings(Plan(pipeline="shop", steps=(step,)), {"tell": ids})]


def test_notification_that_records_no_id_is_warned_of() -> None:
    """Whether the customer was told could never be looked up."""
    [warning] = find_warnings(Plan(pipeline="shop", steps=(notify(),)), {"tell": RecordedIds(is_complete=True)})
    assert (warning.code, warning.step) == (WarningCode.NOTIFY_RECORDS_NO_ID, "tell")
    assert "ctx.record_external_id" in warning.remedy


@pytest.mark.parametrize(
    "ids", [RecordedIds(names=frozenset({"message"}), is_complete=True), UNSEEN], ids=["recorded", "unknown"]
)
def test_notification_that_may_record_an_id_is_not_warned_of(ids: RecordedIds) -> None:
    """What cannot be seen is not held against anybody."""
    assert codes(ids) == []
    assert find_warnings(Plan(pipeline="shop", steps=(notify(),))) == ()


def test_only_notifications_must_record_an_id() -> None:
    """A write may have nothing that has an id."""
    assert codes(RecordedIds(is_complete=True), Effect.WRITE) == []


def test_two_steps_with_one_external_id_name_are_warned_of() -> None:
    """The later one would hide the earlier one in the run's ids."""
    plan = Plan(pipeline="shop", steps=(notify("tell"), notify("write"), notify("call")))
    ids = RecordedIds(names=frozenset({"message"}), is_complete=False)
    [warning] = find_warnings(plan, {"tell": ids, "write": UNSEEN, "call": ids})
    assert (warning.code, warning.step) == (WarningCode.SHARED_EXTERNAL_ID, "call")
    assert "'message', as tell does" in warning.problem


def test_pipeline_knows_what_its_steps_record_and_its_plan_does_not() -> None:
    """The digest is that of the contract: a run does not depend on what a source file shows."""
    step = make(records_one)
    pipeline = PipelineDefinition("p", [step])
    assert pipeline.recorded_ids[step.name].names == {"message"}
    assert "'message'" not in str(pipeline.plan.as_json)

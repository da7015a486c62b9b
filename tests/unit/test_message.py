"""The message of a step: what is sent, and what is accepted."""

from __future__ import annotations

import ast
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backout import MessageRefused
from backout.identifiers import TaskId, new_run_id, new_task_id
from backout.jsontext import dump_json, load_json
from backout.ledger.records import StepKey
from backout.pipelines.contract import Plan
from backout.pipelines.message import (
    KEYWORD,
    KILL_GRACE_SECONDS,
    StepMessage,
    direction_contract,
    read_message,
)
from backout.states import Direction
from tests.support.runs import ORDER_PLAN, contract, question, undoing

TASK: Final = "shop.pipelines.charge_card"
LONG: Final = Plan(pipeline="fulfil_order", steps=tuple(contract(f"step_{n:04d}") for n in range(1_000)))


def key(position: int = 2, direction: Direction = Direction.FORWARD) -> StepKey:
    return StepKey(run_id=new_run_id(), round=1, position=position, direction=direction)


def message(plan: Plan = ORDER_PLAN, **values: Any) -> StepMessage:
    return StepMessage.of(plan, **{"key": key(), "task_id": new_task_id(), **values})


def shown(sent: StepMessage) -> Any:
    """Return what Flower makes of the text that a message carries about itself."""
    return ast.literal_eval(sent.sending_options()["kwargsrepr"])


def size_bytes(sent: StepMessage) -> int:
    return len(dump_json([sent.keywords(), sent.sending_options()]).encode())


@pytest.mark.parametrize("direction", [Direction.FORWARD, Direction.COMPENSATION, Direction.RECONCILE])
def test_text_for_people_is_a_mapping_that_flower_can_search(direction: Direction) -> None:
    """Flower parses the text as a literal and finds `kwargs:run=…`."""
    about = key(direction=direction)
    assert shown(message(key=about, attempt=3)) == {
        "run": about.run_id,
        "pipeline": "fulfil_order",
        "step": "charge_card",
        "direction": direction.value,
        "attempt": 3,
    }


def test_text_for_people_survives_quotes_in_a_name() -> None:
    """A pipeline's name cannot break the text out of its literal."""
    plan = Plan(pipeline="""'}] "x" \\ \n""", steps=ORDER_PLAN.steps)
    assert shown(message(plan))["pipeline"] == plan.pipeline


def test_message_holds_ids_only() -> None:
    """No input, output or plan travels with a message: what a step needs comes from the ledger."""
    about = key()
    assert message(key=about, attempt=2).keywords() == {
        KEYWORD: {
            "version": 1,
            "run": about.run_id,
            "round": 1,
            "position": 2,
            "direction": "forward",
            "attempt": 2,
        },
    }


def test_message_is_as_large_at_the_end_of_a_long_pipeline_as_at_its_beginning() -> None:
    """The size does not depend on what came before or is left to come."""
    sizes = {size_bytes(message(LONG, key=key(position))) for position in (100, 500, 999)}
    assert len(sizes) == 1
    assert max(sizes) < 1_000


def test_message_is_sent_under_the_task_of_its_direction() -> None:
    """A compensation is a task of its own, with its own time limit."""
    forward, back = message(), message(key=key(direction=Direction.COMPENSATION))
    assert (forward.task, back.task) == (TASK, "shop.pipelines.undo")
    assert forward.sending_options()["time_limit"] == 600.0 + KILL_GRACE_SECONDS
    assert back.sending_options()["time_limit"] == 120.0 + KILL_GRACE_SECONDS


def test_compensation_of_a_step_that_has_none_is_an_error() -> None:
    """A message without a task to run it is never sent."""
    for direction in (Direction.COMPENSATION, Direction.RECONCILE, Direction.VERIFY):
        with pytest.raises(LookupError, match=f"'check_address' has no {direction} function"):
            direction_contract(ORDER_PLAN.steps[0], direction)


@pytest.mark.parametrize("direction", Direction)
def test_users_options_are_passed_through(direction: Direction) -> None:
    """Queue, priority and the like reach Celery unchanged, in every direction."""
    options = {"queue": "slow", "priority": 3, "headers": {"tenant": "t-1"}}
    asked = question("shop.find", options=options)
    step = contract("a", options=options, **undoing("undo", options=options), reconcile=asked, verify=asked)
    sent = message(Plan(pipeline="p", steps=(step,)), key=key(0, direction)).sending_options()
    assert {name: sent[name] for name in options} == options


def test_engines_options_are_stronger_than_the_users() -> None:
    """What R1 and the ids in Flower depend on cannot be changed by a contract."""
    wrong = {"serializer": "pickle", "ignore_result": False, "task_id": "x", "root_id": "x", "kwargsrepr": "x"}
    about, task_id = key(0), new_task_id()
    plan = Plan(pipeline="p", steps=(contract("a", options=wrong),))
    sent = message(plan, key=about, task_id=task_id).sending_options()
    assert (sent["serializer"], sent["ignore_result"]) == ("json", True)
    assert (sent["task_id"], sent["root_id"]) == (task_id, about.run_id)
    assert sent["kwargsrepr"] != "x"


def test_first_message_of_a_run_is_the_root_of_its_tree() -> None:
    """The run's id is the first task's id, so that Flower shows one tree for each run."""
    about = key(0)
    sent = message(key=about, task_id=TaskId(about.run_id)).sending_options()
    assert sent["task_id"] == sent["root_id"] == about.run_id
    assert "parent_id" not in sent


def test_parent_and_countdown_are_sent_where_there_are_any() -> None:
    """A later message names the task that caused it, and a retry is delivered when it is due."""
    parent = new_task_id()
    sent = message(parent_id=parent).later(2.5).sending_options()
    assert (sent["parent_id"], sent["countdown"]) == (parent, 2.5)
    assert "countdown" not in message().sending_options()


keys = st.builds(
    StepKey,
    run_id=st.builds(new_run_id),
    round=st.integers(1, 1_000),
    position=st.integers(0, 10_000),
    direction=st.sampled_from([Direction.FORWARD, Direction.COMPENSATION]),
)


@settings(deadline=None)
@given(about=keys, attempt=st.integers(1, 10_000))
def test_message_that_was_sent_is_read_as_it_was_meant(about: StepKey, attempt: int) -> None:
    """Whatever is sent through JSON arrives as the same step and attempt."""
    plan = Plan(pipeline="p", steps=(contract("a", **undoing("undo")),))
    first = StepKey(run_id=about.run_id, round=1, position=0, direction=about.direction)
    sent = StepMessage.of(plan, first, task_id=new_task_id())
    body = {**sent.keywords()[KEYWORD], "round": about.round, "position": about.position, "attempt": attempt}
    received = read_message(TASK, (), load_json(dump_json({KEYWORD: body})))
    assert (received.key, received.attempt) == (about, attempt)


GOOD: Final[dict[str, Any]] = {
    "version": 1,
    "run": "0198c0de-0000-7000-8000-000000000001",
    "round": 1,
    "position": 0,
    "direction": "forward",
    "attempt": 1,
}


@pytest.mark.parametrize(
    ("arguments", "keywords"),
    [
        ((), {}),
        (({"id": "order-1"},), {}),
        ((), {"order": {"id": "order-1"}}),
        (("more",), {KEYWORD: GOOD}),
        ((), {KEYWORD: None}),
        ((), {KEYWORD: "0198c0de"}),
        ((), {KEYWORD: [GOOD]}),
    ],
)
def test_message_that_the_engine_did_not_send_is_refused(arguments: tuple[Any, ...], keywords: dict[str, Any]) -> None:
    """A step that somebody called with `.delay(order)` does not run behind the ledger's back (R10)."""
    with pytest.raises(MessageRefused, match="it was not sent by the engine") as refused:
        read_message(TASK, arguments, keywords)
    assert refused.value.task == TASK


@pytest.mark.parametrize("version", [None, 0, 2, "1"])
def test_message_of_another_version_is_refused_by_name(version: object) -> None:
    """A worker of an older release says which message it cannot read (R10)."""
    with pytest.raises(MessageRefused, match=f"it has version {version!r}, this worker knows 1"):
        read_message(TASK, (), {KEYWORD: {**GOOD, "version": version}})


@pytest.mark.parametrize("name", ["run", "round", "position", "direction", "attempt"])
def test_message_that_lacks_something_is_refused(name: str) -> None:
    """A damaged message is never run with a guess (R10)."""
    with pytest.raises(MessageRefused, match="it is damaged"):
        read_message(TASK, (), {KEYWORD: {key: value for key, value in GOOD.items() if key != name}})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("run", "no-uuid"),
        ("run", 17),
        ("run", None),
        ("round", "1"),
        ("round", -1),
        ("position", 1.0),
        ("position", True),
        ("position", 2**31),
        ("direction", "sideways"),
        ("direction", None),
        ("attempt", []),
    ],
)
def test_message_with_a_damaged_value_is_refused(name: str, value: object) -> None:
    """Only what could be a row of the ledger is looked up there (R10)."""
    with pytest.raises(MessageRefused, match="it is damaged"):
        read_message(TASK, (), {KEYWORD: {**GOOD, name: value}})


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(), children, max_size=3),
    max_leaves=8,
)


@settings(deadline=None)
@given(
    changes=st.dictionaries(st.sampled_from(sorted(GOOD)), json_values), more=st.dictionaries(st.text(), json_values)
)
def test_whatever_comes_is_read_or_refused(changes: dict[str, Any], more: dict[str, Any]) -> None:
    """No message makes the reader fail in another way than by a refusal that is recorded (R10)."""
    try:
        received = read_message(TASK, (), {KEYWORD: {**GOOD, **changes, **more}})
    except MessageRefused:
        return
    assert received.attempt >= 0

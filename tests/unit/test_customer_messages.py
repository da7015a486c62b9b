"""What a customer may be told: the pipeline's text for the operator's state, for the run state, or a safe one."""

import json
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from backout.cli.render.facts import draw_facts
from backout.pipelines.contract import OnFailure, Plan, StepContract
from backout.pipelines.customer import customer_message, read_plan
from backout.pipelines.definition import PipelineDefinition
from backout.pipelines.words import all_operator_states
from backout.states import RunState
from backout.views.clock import Clock
from backout.views.shapes import shape_picture
from tests.support.definitions import make, refused
from tests.support.pictures import picture, printed
from tests.support.runs import ORDER_PLAN, contract, question, undoing

PENDING = "reserve_stock_done_charge_card_pending"
TOLD = replace(ORDER_PLAN, customer_messages={"running": "We are on it.", PENDING: "Your card is being charged."})


def defined(messages: Any, **options: Any) -> Plan:
    """Return the plan of a pipeline of one step, whose words are `lead_created` and `lead_pending`."""
    step = make(done="lead_created", pending="lead_pending", failed="lead_failed")
    return PipelineDefinition("p", [step], customer_messages=messages, **options).plan


# what is told


@pytest.mark.parametrize(
    ("state", "operator_state", "told"),
    [
        (RunState.RUNNING, PENDING, "Your card is being charged."),
        (RunState.RUNNING, "check_address_pending", "We are on it."),
        (RunState.PENDING, "check_address_pending", "We have received your request."),
    ],
    ids=["operator state", "run state", "neither"],
)
def test_most_exact_message_wins(state: RunState, operator_state: str, told: str) -> None:
    """The operator's state before the run state before the safe text."""
    assert customer_message(TOLD, state, operator_state) == told


@pytest.mark.parametrize("state", RunState)
def test_every_run_state_has_a_safe_text(state: RunState) -> None:
    """A sentence that says nothing of how the work is done, and promises no time."""
    text = customer_message(ORDER_PLAN, state, "anything")
    assert text[0].isupper()
    assert text[-1] == "."
    inside = ("step", "roll", "compensat", "review", "error", "retry", "worker", "park", "soon", "shortly", "ledger")
    assert not [word for word in inside if word in text.lower()]
    assert customer_message(None, state, "anything") == text


def test_plan_of_a_newer_release_leaves_the_safe_text() -> None:
    """What cannot be read is not guessed."""
    assert read_plan({"format": 99}) is None
    assert read_plan(TOLD.as_json) == TOLD


def test_messages_are_part_of_the_recorded_plan() -> None:
    """A deploy changes neither what a run does nor what its customer is told."""
    assert Plan.from_json(json.loads(json.dumps(TOLD.as_json))).customer_messages == TOLD.customer_messages
    stored = {key: value for key, value in ORDER_PLAN.as_json.items() if key != "customer_messages"}
    assert Plan.from_json(stored).customer_messages == {}


def test_picture_of_a_run_shows_what_the_customer_is_told() -> None:
    """Whoever answers the telephone reads what the customer has read."""
    looked_at = picture(RunState.RUNNING, plan=TOLD, run={"operator_state": PENDING})
    shown = printed(draw_facts(looked_at, Clock(now=looked_at.now)))
    assert "customer is told  Your card is being charged." in shown
    assert shape_picture(looked_at, with_entries=False)["customer_message"] == "Your card is being charged."


# what may be defined


@pytest.mark.parametrize(
    "state",
    [
        "in_review",
        RunState.SUCCEEDED,
        "lead_pending",
        "lead_created",
        "lead_pending_in_review",
        "lead_failed_rolled_back",
        "nothing_to_do",
    ],
)
def test_states_of_runs_and_of_this_pipeline_are_accepted(state: str) -> None:
    """And stored under their own names."""
    assert defined({state: "Well."}).customer_messages == {str(state): "Well."}


def test_unknown_state_is_refused_with_the_closest_ones() -> None:
    """A message that would never be shown is a mistake."""
    error = refused(lambda: defined({"succeeded": "Done.", "lead_createt": "We have your data."}))
    assert error.problem == "customer_messages['lead_createt']: no run of it can have this state"
    assert "Did you mean 'lead_created'" in error.remedy
    for accepted in ("Run states: pending, running", "Operator's states: lead_pending, lead_created"):
        assert accepted in error.remedy


def test_state_that_is_close_to_nothing_is_refused_with_what_there_is() -> None:
    """Also in a pipeline that has very many."""
    steps = [make() for _ in range(60)]
    started = time.monotonic()
    error = refused(lambda: PipelineDefinition("p", steps, customer_messages={"!": "?"}))
    assert "Did you mean" not in error.remedy
    assert " more." in error.remedy
    assert len(error.remedy) < 3_000
    assert time.monotonic() - started < 10


@pytest.mark.parametrize("text", ["", "  ", "x" * 501, None, 5, b"bytes"])
def test_message_that_cannot_be_shown_is_refused(text: Any) -> None:
    """A customer reads text, and not too much of it."""
    assert "1 to 500 characters" in refused(lambda: defined({"running": text})).remedy


@pytest.mark.parametrize("text", ["a\x00b", "half \ud800"])
def test_message_that_cannot_be_stored_is_refused(text: str) -> None:
    """It would fail at the first enqueue, and in some databases only."""
    assert "no database stores" in refused(lambda: defined({"running": text})).problem


def test_message_of_500_characters_is_accepted() -> None:
    """The limit is included; letters count, not bytes."""
    assert defined({"running": "ü" * 500}).customer_messages["running"] == "ü" * 500


@pytest.mark.parametrize("messages", ["running", ["running"], 5])
def test_messages_are_a_dictionary(messages: Any) -> None:
    """The refusal shows one."""
    assert 'customer_messages={"in_review"' in refused(lambda: defined(messages)).remedy


@pytest.mark.parametrize(
    ("given", "stored"),
    [({}, 86_400.0), ({"review_within": timedelta(hours=2)}, 7_200.0), ({"review_within": None}, None)],
)
def test_time_for_a_review_is_stored(given: Mapping[str, Any], stored: float | None) -> None:
    """A day, unless the pipeline says something else."""
    assert defined(None, **given).review_within_seconds == stored


@pytest.mark.parametrize("within", [0, -5, True, "1 day", timedelta(0), float("inf")])
def test_time_for_a_review_that_is_no_time_is_refused(within: Any) -> None:
    """As the other lengths of time."""
    assert "review_within=" in refused(lambda: defined(None, review_within=within)).problem


# the states that there are


def states_of(*steps: StepContract) -> list[str]:
    return list(all_operator_states(Plan(pipeline="p", steps=steps)))


def test_usual_states_come_first_and_none_twice() -> None:
    """They are what a refusal shows."""
    states = list(all_operator_states(ORDER_PLAN))
    assert states[:3] == [
        "check_address_pending",
        "check_address_done_reserve_stock_pending",
        "reserve_stock_done_charge_card_pending",
    ]
    assert states[5] == "send_receipt_done"
    assert len(states) == len(set(states))


def test_states_depend_on_what_the_contract_allows() -> None:
    """Nothing waits to be seen live that is not looked at; only the last step's failure shows at the end."""
    plain = states_of(contract("a"), contract("b"))
    assert not [state for state in plain if "live" in state or "compensation" in state or state.endswith("b_failed")]
    more = states_of(
        contract("a", verify=question("see")), contract("b", on_failure=OnFailure.CONTINUE, **undoing("x"))
    )
    assert {
        "a_done_live_pending",
        "a_done_a_live_unknown_in_review",
        "b_compensation_failed_in_review",
        "b_undone_rolling_back",
        "a_done_b_failed",
        "b_failed",
    } <= set(more) - set(plain)

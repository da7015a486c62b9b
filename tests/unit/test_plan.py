"""The plan that is stored with a run: read back as it was, and told apart by its digest."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backout.pipelines.contract import (
    PLAN_FORMAT,
    Backoff,
    CompensationContract,
    Effect,
    OnCompensationFailure,
    OnFailure,
    Plan,
    QuestionContract,
    RecoveryKind,
    RetryRule,
    StepContract,
)

words = st.text(min_size=1, max_size=20)
seconds = st.floats(min_value=0, max_value=1e6)
options = st.dictionaries(st.sampled_from(["queue", "priority", "headers"]), st.one_of(st.integers(), words))
rules = st.builds(
    RetryRule,
    limit=st.integers(0, 10_000),
    delay_seconds=seconds,
    backoff=st.sampled_from(Backoff),
    max_delay_seconds=seconds,
    jitter=st.floats(0, 1),
    on=st.lists(words, max_size=3).map(tuple),
    never_on=st.lists(words, max_size=3).map(tuple),
)
compensations = st.builds(
    CompensationContract,
    task=words,
    action=words,
    retry=rules,
    timeout_seconds=seconds,
    on_failure=st.sampled_from(OnCompensationFailure),
    idempotent=st.booleans(),
    options=options,
)
questions = st.builds(QuestionContract, task=words, retry=rules, timeout_seconds=seconds, options=options)
contracts = st.builds(
    StepContract,
    name=words,
    task=words,
    effect=st.sampled_from(Effect),
    recovery=st.sampled_from(RecoveryKind),
    recovery_reason=st.text(max_size=20),
    compensation=st.none() | compensations,
    idempotent=st.booleans(),
    has_own_key=st.booleans(),
    reconcile=st.none() | questions,
    verify=st.none() | questions,
    retry=rules,
    timeout_seconds=seconds,
    on_failure=st.sampled_from(OnFailure),
    ack_early=st.booleans(),
    done=words,
    pending=words,
    failed=words,
    options=options,
)
plans = st.builds(
    Plan,
    pipeline=words,
    steps=st.lists(contracts, min_size=1, max_size=4).map(tuple),
    deadline_seconds=st.none() | seconds,
    review_within_seconds=st.none() | seconds,
    customer_messages=st.dictionaries(words, words, max_size=3),
)

EXAMPLE = Plan(
    pipeline="fulfil_order",
    steps=tuple(
        StepContract(
            name=name,
            task=f"shop.{name}",
            effect=Effect.WRITE,
            recovery=RecoveryKind.KEEP,
            recovery_reason="harmless",
            idempotent=False,
            retry=RetryRule(
                limit=5, delay_seconds=10.0, backoff=Backoff.EXPONENTIAL, max_delay_seconds=3600.0, jitter=0.1
            ),
            timeout_seconds=600.0,
            on_failure=OnFailure.ROLLBACK,
            done=f"{name}_done",
            pending=f"{name}_pending",
            failed=f"{name}_failed",
            options={"queue": "slow", "priority": 3},
        )
        for name in ("reserve", "charge")
    ),
)


@given(plans)
def test_a_plan_is_read_back_as_it_was(plan: Plan) -> None:
    """Through JSON text, as a database stores it: nothing is lost and no type changes."""
    stored = json.loads(json.dumps(plan.as_json))
    assert Plan.from_json(stored) == plan


@given(plans)
def test_a_plan_that_was_read_back_has_the_same_digest(plan: Plan) -> None:
    """A worker that reads the plan and the process that wrote it mean the same definition."""
    assert Plan.from_json(json.loads(json.dumps(plan.as_json))).digest == plan.digest


CHANGES: dict[str, Callable[[StepContract], StepContract]] = {
    "name": lambda contract: replace(contract, name="other"),
    "effect": lambda contract: replace(contract, effect=Effect.NOTIFY),
    "recovery": lambda contract: replace(contract, recovery=RecoveryKind.IRREVERSIBLE),
    "timeout": lambda contract: replace(contract, timeout_seconds=601.0),
    "retry": lambda contract: replace(contract, retry=replace(contract.retry, limit=6)),
    "policy": lambda contract: replace(contract, on_failure=OnFailure.PARK),
    "idempotent": lambda contract: replace(contract, idempotent=True),
    "words": lambda contract: replace(contract, done="fertig"),
    "options": lambda contract: replace(contract, options={"queue": "fast"}),
}


@pytest.mark.parametrize("change", list(CHANGES))
def test_each_change_of_a_contract_changes_the_digest(change: str) -> None:
    """Two definitions that would behave differently are told apart."""
    first, second = EXAMPLE.steps
    changed = replace(EXAMPLE, steps=(CHANGES[change](first), second))
    assert changed.digest != EXAMPLE.digest


def test_the_order_of_steps_changes_the_digest() -> None:
    """Another order is another definition."""
    assert replace(EXAMPLE, steps=EXAMPLE.steps[::-1]).digest != EXAMPLE.digest


def test_the_digest_is_of_a_length_that_can_be_stored() -> None:
    """32 hexadecimal digits."""
    assert len(EXAMPLE.digest) == 32
    assert int(EXAMPLE.digest, 16)


@pytest.mark.parametrize("seed", ["0", "1", "random"])
def test_every_process_computes_the_same_digest(seed: str) -> None:
    """A web process and a worker agree, whatever Python's hash seed is."""
    code = "from tests.unit.test_plan import EXAMPLE; print(EXAMPLE.digest)"
    command = [sys.executable, "-c", code]
    environment = {**os.environ, "PYTHONHASHSEED": seed}
    printed = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    assert printed.strip() == EXAMPLE.digest


def test_equal_plans_have_equal_digests() -> None:
    """The order in which options were written is not part of the definition."""
    first, second = EXAMPLE.steps
    reordered = replace(first, options=dict(reversed(first.options.items())))
    other = replace(EXAMPLE, steps=(reordered, second))
    assert other == EXAMPLE
    assert other.digest == EXAMPLE.digest


class TestReading:
    @pytest.mark.parametrize("stored", [None, 5, [], "plan", {}, {"format": PLAN_FORMAT + 1}, {"format": "1"}])
    def test_what_this_release_cannot_read_is_refused(self, stored: Any) -> None:
        """R10: a worker leaves a run of a newer release to a newer worker."""
        with pytest.raises(ValueError, match=f"this release reads {PLAN_FORMAT}"):
            Plan.from_json(stored)

    @pytest.mark.parametrize("missing", ["pipeline", "steps"])
    def test_a_plan_with_something_missing_is_refused(self, missing: str) -> None:
        """Half a plan is no plan."""
        stored = {key: value for key, value in EXAMPLE.as_json.items() if key != missing}
        with pytest.raises(ValueError, match=missing):
            Plan.from_json(stored)

    def test_a_word_that_is_unknown_is_refused(self) -> None:
        """An effect that this release has never heard of is not guessed."""
        stored = json.loads(json.dumps(EXAMPLE.as_json))
        stored["steps"][0]["effect"] = "teleport"
        with pytest.raises(ValueError, match="effect"):
            Plan.from_json(stored)

    def test_fields_of_a_later_release_of_this_format_are_passed_over(self) -> None:
        """A release that only adds fields keeps the format, and older workers go on."""
        stored = json.loads(json.dumps(EXAMPLE.as_json))
        stored["colour"] = stored["steps"][0]["colour"] = "red"
        assert Plan.from_json(stored) == EXAMPLE


class TestPositions:
    def test_a_step_is_found_by_its_name(self) -> None:
        """Positions count from 0."""
        assert [EXAMPLE.position_of(name) for name in ("reserve", "charge")] == [0, 1]

    def test_an_unknown_name_is_a_key_error(self) -> None:
        """The caller decides what it means."""
        with pytest.raises(KeyError):
            EXAMPLE.position_of("book")

    def test_the_step_after_the_last_is_none(self) -> None:
        """That is how a run knows that it is done."""
        assert EXAMPLE.step_after(0) == EXAMPLE.steps[1]
        assert EXAMPLE.step_after(1) is None

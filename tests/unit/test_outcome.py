"""What an exception of a user's function means, and what is kept of it."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from billiard.exceptions import SoftTimeLimitExceeded

from backout import (
    AskHuman,
    BackoutError,
    FailStep,
    InvalidInput,
    ParkRun,
    Retry,
    RetryStep,
    ReviewReason,
    SkipStep,
    StepTimedOut,
)
from backout.jsontext import dump_json
from backout.pipelines.contract import RetryRule
from backout.tasks.outcome import (
    MESSAGE_CHARACTERS,
    TRACEBACK_CHARACTERS,
    ErrorFacts,
    Failed,
    Lost,
    NeedsHuman,
    Outcome,
    Parked,
    RetryLater,
    Skipped,
    classify,
)

RULE = Retry(limit=3, delay=10, backoff="linear", jitter=0.1).rule()


def outcome_of(
    error: Exception,
    *,
    retry: RetryRule = RULE,
    is_idempotent: bool = False,
    failed_attempts: int = 1,
    chance: float = 0.5,
) -> Outcome:
    return classify(error, retry=retry, is_idempotent=is_idempotent, failed_attempts=failed_attempts, chance=chance)


def raised(error: Exception) -> Exception:
    """Return the error as it is after it was raised: with a traceback."""
    try:
        raise error
    except Exception as caught:
        return caught


def test_skip_signal_means_skipped() -> None:
    """A step that says there is nothing to do is skipped with its reason."""
    assert outcome_of(SkipStep("no card needed")) == Skipped(reason="no card needed")


@pytest.mark.parametrize("no_effect", [False, True])
def test_fail_signal_is_final_however_many_retries_are_left(no_effect: bool) -> None:
    """A step that says it failed for good is not tried again, and what it says about its effect is kept."""
    error = FailStep("no such card", no_effect=no_effect)
    assert outcome_of(error) == Failed(error=ErrorFacts.of(error), no_effect=no_effect)


def test_park_signal_means_parked() -> None:
    """A step may ask that its run waits with what was done kept."""
    error = ParkRun("the courier is on strike")
    assert outcome_of(error) == Parked(error=ErrorFacts.of(error))


def test_human_signal_carries_its_reason_code() -> None:
    """A step that asks for a person says why by a stable code."""
    error = AskHuman("credentials_failed", "the key was revoked")
    assert outcome_of(error) == NeedsHuman(error=ErrorFacts.of(error), review=ReviewReason.CREDENTIALS_FAILED)


def test_retry_signal_waits_as_long_as_it_says() -> None:
    """A provider's own delay is stronger than the contract's."""
    error = RetryStep("rate limited", after=timedelta(minutes=7))
    assert outcome_of(error) == RetryLater(error=ErrorFacts.of(error), delay_seconds=420.0)


def test_retry_signal_without_delay_waits_as_the_contract_says() -> None:
    """Without a delay of its own the signal uses the step's retry settings."""
    error = RetryStep()
    assert outcome_of(error, failed_attempts=2) == RetryLater(error=ErrorFacts.of(error), delay_seconds=20.0)


def test_retry_signal_with_a_delay_in_the_past_is_due_at_once() -> None:
    """A negative delay, as a clock's difference may give, is no delay."""
    outcome = outcome_of(RetryStep(after=timedelta(seconds=-5)))
    assert isinstance(outcome, RetryLater)
    assert outcome.delay_seconds == 0.0


def test_retry_signal_counts_as_an_attempt() -> None:
    """A step cannot ask for another attempt beyond its limit."""
    assert isinstance(outcome_of(RetryStep(after=timedelta(0)), failed_attempts=4), Failed)


def test_retry_signal_is_obeyed_where_the_contract_lists_other_errors() -> None:
    """What the step says itself is stronger than the types in `on` and `never_on`."""
    rule = Retry(on=(ConnectionError,), never_on=(BackoutError,)).rule()
    assert isinstance(outcome_of(RetryStep(), retry=rule), RetryLater)


@pytest.mark.parametrize(
    ("failed_attempts", "outcome"), [(1, RetryLater), (2, RetryLater), (3, RetryLater), (4, Failed), (9, Failed)]
)
def test_any_other_exception_is_retried_up_to_the_limit(failed_attempts: int, outcome: type[Outcome]) -> None:
    """`limit` is the number of attempts after the first one that failed."""
    assert isinstance(outcome_of(ValueError("broken"), failed_attempts=failed_attempts), outcome)


def test_limit_of_zero_allows_one_attempt() -> None:
    """Without retries the first failure is final."""
    assert isinstance(outcome_of(ValueError(), retry=Retry(limit=0).rule()), Failed)


@pytest.mark.parametrize(("chance", "delay"), [(0.0, 27.0), (0.5, 30.0), (1.0, 33.0)])
def test_chance_places_the_delay_inside_the_jitter(chance: float, delay: float) -> None:
    """The delay is a function of the attempt and of chance alone."""
    outcome = outcome_of(ValueError(), failed_attempts=3, chance=chance)
    assert isinstance(outcome, RetryLater)
    assert outcome.delay_seconds == pytest.approx(delay)


class Refused(ConnectionRefusedError):
    """A provider's own error, two classes below the one that a contract would name."""


@pytest.mark.parametrize(
    ("on", "never_on", "error", "outcome"),
    [
        ((), (), Refused(), RetryLater),
        ((ConnectionError,), (), Refused(), RetryLater),
        ((Refused,), (), Refused(), RetryLater),
        ((Refused,), (), ConnectionRefusedError(), Failed),
        ((ConnectionError,), (), ValueError(), Failed),
        ((OSError, ValueError), (), ValueError(), RetryLater),
        ((), (ConnectionError,), Refused(), Failed),
        ((), (ConnectionError,), ValueError(), RetryLater),
        ((OSError,), (ConnectionError,), Refused(), Failed),
        ((OSError,), (ConnectionError,), TimeoutError(), RetryLater),
        ((Refused,), (OSError,), Refused(), Failed),
    ],
)
def test_types_are_matched_by_base_classes_and_never_on_is_stronger(
    on: tuple[type[Exception], ...], never_on: tuple[type[Exception], ...], error: Exception, outcome: type[Outcome]
) -> None:
    """A contract names a base class and means all its descendants."""
    assert isinstance(outcome_of(error, retry=Retry(on=on, never_on=never_on).rule()), outcome)


TIMED_OUT = StepTimedOut(step="charge_card", timeout_seconds=30)


@pytest.mark.parametrize("failed_attempts", [1, 99])
def test_timeout_of_a_step_that_is_not_idempotent_leaves_it_in_doubt(failed_attempts: int) -> None:
    """Nobody knows whether the effect happened after the function was cut off, whatever retries are left (R8)."""
    expected = Lost(reason="charge_card did not answer within 30 s")
    assert outcome_of(TIMED_OUT, failed_attempts=failed_attempts) == expected


def test_timeout_of_an_idempotent_step_is_a_failed_attempt() -> None:
    """A step that may run again without a second effect is tried again after a timeout, up to its limit."""
    assert isinstance(outcome_of(TIMED_OUT, is_idempotent=True), RetryLater)
    assert isinstance(outcome_of(TIMED_OUT, is_idempotent=True, failed_attempts=4), Failed)


def test_facts_name_the_class_the_message_and_the_place() -> None:
    """A person finds in the ledger what a log would have said."""
    facts = ErrorFacts.of(raised(Refused("no route")))
    assert (facts.type, facts.message, facts.code) == (f"{__name__}.Refused", "no route", "")
    assert facts.traceback.startswith("Traceback")
    assert facts.traceback.rstrip().endswith("Refused: no route")
    assert facts.in_one_line == "Refused: no route"


def test_facts_of_an_error_without_message_say_its_name_once() -> None:
    """An exception that says nothing is known by its class."""
    facts = ErrorFacts.of(TimeoutError())
    assert (facts.message, facts.in_one_line) == ("TimeoutError", "TimeoutError")


def test_facts_of_an_own_error_have_its_stable_code() -> None:
    """What backout itself raises can be looked up in its reference."""
    error = InvalidInput(pipeline="fulfil_order", step="charge_card", problems=("id: missing",))
    assert ErrorFacts.of(error).code == "invalid_input"


def test_facts_are_cut_to_what_the_ledger_takes() -> None:
    """A message keeps its beginning and a traceback its end, where the cause is."""
    facts = ErrorFacts.of(raised(ValueError("begin" + "x" * 10_000 + "end")))
    assert len(facts.message) == MESSAGE_CHARACTERS
    assert facts.message.startswith("begin")
    assert len(facts.traceback) == TRACEBACK_CHARACTERS
    assert facts.traceback.endswith("end\n")


@pytest.mark.parametrize("hostile", ["a\x00b", "a\udc80b", "\x00", "\udc80"])
def test_facts_hold_only_characters_that_a_database_stores(hostile: str) -> None:
    """A failure is recorded whatever its message holds: NUL and half characters would be refused."""
    stored = ErrorFacts.of(raised(ValueError(hostile))).as_json()
    for text in stored.values():
        assert "\x00" not in text
        assert text.encode()
    assert json.loads(dump_json(stored)) == stored


@pytest.mark.parametrize("hostile", ["a\x00b", "a\udc80b", "b" * 10_000])
def test_reason_of_a_skip_holds_only_what_a_database_stores(hostile: str) -> None:
    """What a step says about itself is recorded whatever characters it holds."""
    outcome = outcome_of(SkipStep(hostile))
    assert isinstance(outcome, Skipped)
    assert "\x00" not in outcome.reason
    assert outcome.reason.encode()
    assert len(outcome.reason) <= MESSAGE_CHARACTERS


class Mute(Exception):
    """An error that cannot say what it is."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


def test_facts_of_an_error_that_cannot_be_printed_are_kept_all_the_same() -> None:
    """An attempt that failed is recorded as failed even if its exception has a defect of its own."""
    outcome = outcome_of(raised(Mute()))
    assert isinstance(outcome, RetryLater)
    assert outcome.error.type == f"{__name__}.Mute"
    assert outcome.error.message


@pytest.mark.parametrize(
    ("facts", "stored"),
    [
        ({"type": "builtins.OSError", "message": "broken"}, {"type": "builtins.OSError", "message": "broken"}),
        (
            {"type": "t", "message": "m", "code": "c", "traceback": "b"},
            {"type": "t", "message": "m", "code": "c", "traceback": "b"},
        ),
    ],
)
def test_stored_facts_leave_out_what_is_empty(facts: dict[str, Any], stored: dict[str, str]) -> None:
    """The stored form has the keys that people and programs look for, and no empty ones."""
    assert ErrorFacts(**facts).as_json() == stored


@pytest.mark.parametrize(("is_idempotent", "outcome"), [(False, Lost), (True, RetryLater)])
def test_celerys_own_soft_limit_is_a_timeout_too(is_idempotent: bool, outcome: type[Outcome]) -> None:
    """R8: whoever has set it, it cuts a function off in the middle."""
    assert isinstance(outcome_of(SoftTimeLimitExceeded(), is_idempotent=is_idempotent), outcome)

"""How an attempt ended: one outcome for each way, and the function that decides which. Pure."""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from typing import Any, Final

from backout.errors import (
    AskHuman,
    BackoutError,
    FailStep,
    InDoubt,
    ParkRun,
    RetryStep,
    SkipStep,
    StepTimedOut,
)
from backout.jsontext import JsonValue
from backout.pipelines.contract import RetryRule
from backout.pipelines.definition import class_name
from backout.pipelines.masking import NO_SECRETS, Secrets
from backout.states import Answer, ReviewReason

MESSAGE_CHARACTERS: Final = 2_000
TRACEBACK_CHARACTERS: Final = 4_000
SOFT_LIMIT: Final = "billiard.exceptions.SoftTimeLimitExceeded"
"""What Celery's own soft limit raises in the middle of a function, where somebody has set one beside the timeout."""
LONGEST_DELAY_SECONDS: Final = 3650 * 86_400.0
"""A delay that user code computes is cut to ten years: no database adds more to now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorFacts:
    """An error as the ledger keeps it.

    Attributes:
        type: dotted name of the exception's class.
        traceback: its last lines; empty where there is none to show.
    """

    type: str
    message: str
    code: str = ""
    traceback: str = ""

    @classmethod
    def of(cls, error: BaseException, secrets: Secrets = NO_SECRETS) -> ErrorFacts:
        """Return the facts of an exception, without what nobody may see: they go into logs, events and pages."""
        lines = "".join(traceback.format_exception(error))
        # Hidden before it is cut: of half a value nobody could tell what it is.
        return cls(
            type=class_name(type(error)),
            message=(secrets.hide(storable(_words_of(error))) or type(error).__name__)[:MESSAGE_CHARACTERS],
            code=error.code if isinstance(error, BackoutError) else "",
            traceback=secrets.hide(storable(lines))[-TRACEBACK_CHARACTERS:],
        )

    def as_json(self) -> dict[str, str]:
        """Return the stored form; empty fields are left out."""
        stored = {"type": self.type, "message": self.message, "code": self.code, "traceback": self.traceback}
        return {name: value for name, value in stored.items() if value}

    @property
    def in_one_line(self) -> str:
        """The error as people read it: the class without its module, and the message."""
        name = self.type.rpartition(".")[2]
        return f"{name}: {self.message}" if self.message and self.message != name else name


@dataclass(frozen=True, slots=True, kw_only=True)
class Succeeded:
    """The function answered; its output is valid."""

    output: JsonValue


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """The function said that there is nothing to do."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryLater:
    """The attempt failed and the contract allows another one."""

    error: ErrorFacts
    delay_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """The attempt failed for good: final by its nature, or the retries are used up."""

    error: ErrorFacts
    no_effect: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Parked:
    """The function asked to keep what was done and to wait."""

    error: ErrorFacts


@dataclass(frozen=True, slots=True, kw_only=True)
class NeedsHuman:
    """The function asked for a person."""

    error: ErrorFacts
    review: ReviewReason


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """The attempt ended without an answer: its effect may exist (R8)."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """A reconcile or verify function answered.

    Attributes:
        output: the step's, when reconcile found that it has happened.
        why: in words, when nobody can tell.
    """

    answer: Answer
    output: JsonValue = None
    why: str = ""

    def as_json(self) -> dict[str, JsonValue]:
        """Return the stored form: `answer`, and `output` or `why` where there is one."""
        if self.answer is Answer.UNKNOWN:
            return {"answer": self.answer.value, "why": self.why}
        return {"answer": self.answer.value, **({"output": self.output} if self.answer is Answer.DONE else {})}


Outcome = Succeeded | Skipped | RetryLater | Failed | Parked | NeedsHuman | Lost | Answered


def classify(
    error: Exception,
    *,
    retry: RetryRule,
    is_idempotent: bool,
    failed_attempts: int,
    chance: float,
    secrets: Secrets = NO_SECRETS,
) -> Outcome:
    """Return what an exception of the user's function means.

    Args:
        error: what was raised.
        retry: of the contract.
        is_idempotent: another attempt under the same key has no second effect.
        failed_attempts: attempts that failed, this one included; attempts that were lost do not count.
        chance: 0 to 1, places the delay inside the jitter.
        secrets: of the run.
    """
    facts = ErrorFacts.of(error, secrets)
    is_time_up = isinstance(error, StepTimedOut) or SOFT_LIMIT in _names(type(error))
    match error:
        case SkipStep():
            return Skipped(reason=facts.message)
        case FailStep():
            return Failed(error=facts, no_effect=error.no_effect)
        case ParkRun():
            return Parked(error=facts)
        case InDoubt():
            return Lost(reason=facts.message)
        case AskHuman():
            return NeedsHuman(error=facts, review=error.review)
    if is_time_up and not is_idempotent:
        # Nobody knows whether the effect happened after the function was cut off.
        return Lost(reason=facts.message)
    if failed_attempts > retry.limit or not (isinstance(error, RetryStep) or retry.covers(_names(type(error)))):
        return Failed(error=facts)
    if isinstance(error, RetryStep) and error.after is not None:
        delay_seconds = min(max(0.0, error.after.total_seconds()), LONGEST_DELAY_SECONDS)
        return RetryLater(error=facts, delay_seconds=delay_seconds)
    return RetryLater(error=facts, delay_seconds=retry.delay_before_retry(failed_attempts, chance))


def _words_of(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:
        # A defect of the exception's own class must not keep the failure from being recorded.
        return ""


def storable(text: str) -> str:
    """Return a text without what databases refuse: NUL, and halves of surrogate pairs."""
    return text.replace("\x00", "").encode(errors="backslashreplace").decode()


def _names(kind: type[Any]) -> tuple[str, ...]:
    return tuple(class_name(base) for base in kind.__mro__)

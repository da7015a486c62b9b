"""The recovery contract of a step, frozen: what may be run again, what is undone how, and when a person is asked.

Pure values. A pipeline's contracts are stored with each of its runs (`Plan`), so that a deploy never changes a run
under way. Source: `semantics` section 3.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from functools import cached_property
from typing import Any, ClassVar, Final, assert_never

from pydantic import ConfigDict, TypeAdapter

PLAN_FORMAT: Final = 1
"""The version of the stored plan. A worker refuses a plan of a newer format and leaves the run to a newer worker."""


class Effect(StrEnum):
    """What a step does to the world outside."""

    READ = "read"
    WRITE = "write"
    NOTIFY = "notify"
    PUBLISH = "publish"


class OnFailure(StrEnum):
    """What follows when a step has failed for good."""

    ROLLBACK = "rollback"
    PARK = "park"
    CONTINUE = "continue"
    REVIEW = "review"


class OnCompensationFailure(StrEnum):
    """What follows when a compensation has failed for good."""

    HALT = "halt"
    CONTINUE = "continue"


class Backoff(StrEnum):
    """How the delay grows from one retry to the next."""

    CONSTANT = "constant"
    LINEAR = "linear"
    EXPONENTIAL = "exponential"


class RecoveryKind(StrEnum):
    """Which of the three recovery actions a step names."""

    COMPENSATE = "compensate"
    KEEP = "keep"
    IRREVERSIBLE = "irreversible"
    NOTHING_TO_UNDO = "nothing_to_undo"


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryRule:
    """When and how often an attempt that failed is followed by another. Durations in seconds.

    Attributes:
        limit: retries after the first attempt.
        on: dotted names of exception classes to retry; empty means every exception.
        never_on: dotted names of exception classes that are final at once.
    """

    limit: int
    delay_seconds: float
    backoff: Backoff
    max_delay_seconds: float
    jitter: float
    on: tuple[str, ...] = ()
    never_on: tuple[str, ...] = ()

    def covers(self, exception_names: tuple[str, ...]) -> bool:
        """Return whether an exception is one to retry.

        Args:
            exception_names: the dotted names of the exception's class and of all its base classes.
        """
        if any(name in self.never_on for name in exception_names):
            return False
        return not self.on or any(name in self.on for name in exception_names)

    def delay_before_retry(self, retry: int, chance: float) -> float:
        """Return the seconds to wait before a retry.

        Args:
            retry: 1 for the first retry.
            chance: a number from 0 to 1 that places the delay inside the jitter: 0.5 is the middle.
        """
        middle = min(self.delay_seconds * self._growth(retry), self.max_delay_seconds)
        return min(max(0.0, middle + middle * self.jitter * (2 * chance - 1)), self.max_delay_seconds)

    def _growth(self, retry: int) -> float:
        match self.backoff:
            case Backoff.CONSTANT:
                return 1.0
            case Backoff.LINEAR:
                return float(retry)
            case Backoff.EXPONENTIAL:
                # The exponent is capped: 2 ** 10_000 is no float, and the maximum was reached long before.
                return 2.0 ** min(retry - 1, 60)
            case _ as never:
                assert_never(never)


@dataclass(frozen=True, slots=True, kw_only=True)
class CompensationContract:
    """How a step is undone."""

    task: str
    action: str
    retry: RetryRule
    timeout_seconds: float
    on_failure: OnCompensationFailure
    idempotent: bool
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionContract:
    """How a question about a step is asked: `reconcile` (did it happen?) or `verify` (is it live?)."""

    task: str
    retry: RetryRule
    timeout_seconds: float
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def idempotent(self) -> bool:
        """Always true: a question changes nothing, so one that was cut off is asked again."""
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class StepContract:
    """What one step of a plan promises.

    Attributes:
        name: unique in its pipeline.
        task: the dotted name of its Celery task.
        recovery_reason: why it may stay or cannot be undone; empty for the other kinds.
        has_own_key: the idempotency key comes from a function of the input and is unique over runs.
        reconcile: how to find out whether the effect happened; `None` when nobody but a person can tell.
        verify: how to see that what was published is live; `None` when being done is enough.
        options: Celery's sending options (`queue`, `priority`, …), passed on unchanged.
        sensitive: fields of its output, and external ids, that are shown masked; see `masking.Fields`.
    """

    name: str
    task: str
    effect: Effect
    recovery: RecoveryKind
    recovery_reason: str = ""
    compensation: CompensationContract | None = None
    idempotent: bool
    has_own_key: bool = False
    reconcile: QuestionContract | None = None
    verify: QuestionContract | None = None
    retry: RetryRule
    timeout_seconds: float
    on_failure: OnFailure
    ack_early: bool = False
    done: str
    pending: str
    failed: str
    options: dict[str, Any] = field(default_factory=dict)
    sensitive: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The steps of a pipeline in the order in which they start, as recorded with a run.

    Attributes:
        deadline_seconds: from enqueue on; a step that would start later fails instead. `None`: a run may take for ever.
        review_within_seconds: in which a person should decide a review. `None`: reviews have no deadline.
        customer_messages: what a customer may be told, by operator's state or run state; see `customer_message`.
        sensitive: fields of the run's input that are shown masked; see `masking.Fields`.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="ignore")

    pipeline: str
    steps: tuple[StepContract, ...]
    deadline_seconds: float | None = None
    review_within_seconds: float | None = 86_400.0
    customer_messages: dict[str, str] = field(default_factory=dict)
    sensitive: tuple[str, ...] = ()
    format: int = PLAN_FORMAT

    def position_of(self, name: str) -> int:
        """Return the index of a step.

        Raises:
            KeyError: the plan has no step of that name.
        """
        return self._positions[name]

    def step_after(self, position: int) -> StepContract | None:
        """Return the next step; `None` when this was the last."""
        return self.steps[position + 1] if position + 1 < len(self.steps) else None

    @cached_property
    def _positions(self) -> dict[str, int]:
        return {step.name: position for position, step in enumerate(self.steps)}

    @cached_property
    def as_json(self) -> dict[str, Any]:
        """The plan as it is stored; `Plan.from_json` reads it back."""
        stored: dict[str, Any] = _PLAN.dump_python(self, mode="json")
        for promise in (stored, *stored["steps"]):
            # Left out where it is empty: a plan without sensitive fields is what it was before there were any, with the
            # same digest. Releases that do not know the key pass over it.
            if not promise["sensitive"]:
                del promise["sensitive"]
        return stored

    @cached_property
    def digest(self) -> str:
        """A hash of the stored form: equal plans have equal digests, in every process."""
        text = json.dumps(self.as_json, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    @classmethod
    def from_json(cls, stored: object) -> Plan:
        """Read a stored plan.

        Raises:
            ValueError: the plan is of a format that this release does not know, or is not a plan.
        """
        if not isinstance(stored, dict) or stored.get("format") != PLAN_FORMAT:
            found = stored.get("format") if isinstance(stored, dict) else type(stored).__name__
            message = f"the stored plan has format {found!r}, this release reads {PLAN_FORMAT}"
            raise ValueError(message)
        return _PLAN.validate_python(stored)


_PLAN: Final = TypeAdapter(Plan)


def seconds(duration: timedelta | float) -> float:
    """Return a duration in seconds; a bare number already is."""
    return duration.total_seconds() if isinstance(duration, timedelta) else float(duration)

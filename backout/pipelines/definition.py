"""What a user defines: retries, steps with their companions, pipelines; and the frozen contracts made of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final, Generic, Literal, ParamSpec, TypeVar

from backout.errors import DefinitionError
from backout.pipelines import validation
from backout.pipelines.contract import (
    Backoff,
    CompensationContract,
    Effect,
    OnCompensationFailure,
    OnFailure,
    Plan,
    QuestionContract,
    RetryRule,
    StepContract,
    seconds,
)
from backout.pipelines.functions import TaskFunction
from backout.pipelines.recorded_ids import RecordedIds
from backout.pipelines.sensitive import FieldNames, check_fields_of_input, check_fields_of_step, check_sensitive
from backout.pipelines.words import all_operator_states

P = ParamSpec("P")
R = TypeVar("R")

DEFAULT_TIMEOUT: Final = timedelta(minutes=10)
DEFAULT_REVIEW_WITHIN: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """When and how often a failed attempt is followed by another.

    Args:
        limit: retries after the first attempt; 0 means one attempt only.
        delay: before the first retry; a bare number is seconds.
        backoff: how the delay grows: `"constant"`, `"linear"` or `"exponential"`.
        max_delay: the delay never grows beyond this.
        jitter: the part of the delay, from 0 to 1, by which chance moves it up or down.
        on: exception types to retry; empty means every exception.
        never_on: exception types that are final at once; stronger than `on`.

    Raises:
        DefinitionError: a value cannot be used.
    """

    limit: int = 5
    delay: timedelta | float = 10.0
    backoff: Literal["constant", "linear", "exponential"] = "exponential"
    max_delay: timedelta | float = timedelta(hours=1)
    jitter: float = 0.1
    on: tuple[type[BaseException], ...] = ()
    never_on: tuple[type[BaseException], ...] = ()

    def __post_init__(self) -> None:
        """Refuse values that cannot be used."""
        if isinstance(self.limit, bool) or not isinstance(self.limit, int) or not 0 <= self.limit <= 10_000:
            raise DefinitionError(
                subject="Retry",
                problem=f"limit={self.limit!r}",
                remedy="Give a whole number of retries from 0 to 10,000.",
            )
        if self.delay not in (0, timedelta(0)) or isinstance(self.delay, bool):
            validation.check_duration("Retry", "delay", self.delay)
        validation.check_duration("Retry", "max_delay", self.max_delay)
        validation.check_choice("Retry", "backoff", self.backoff, list(Backoff))
        if not isinstance(self.jitter, int | float) or not 0 <= self.jitter <= 1:
            raise DefinitionError(subject="Retry", problem=f"jitter={self.jitter!r}", remedy="Give 0 to 1.")
        for name in ("on", "never_on"):
            types = getattr(self, name)
            if not isinstance(types, tuple) or not all(
                isinstance(t, type) and issubclass(t, BaseException) for t in types
            ):
                raise DefinitionError(
                    subject="Retry",
                    problem=f"{name}={types!r}",
                    remedy=f"Give a tuple of exception types: {name}=(ConnectionError,).",
                )

    def rule(self) -> RetryRule:
        """Return the frozen, storable form; exception types become dotted names."""
        return RetryRule(
            limit=self.limit,
            delay_seconds=seconds(self.delay),
            backoff=Backoff(self.backoff),
            max_delay_seconds=seconds(self.max_delay),
            jitter=self.jitter,
            on=tuple(class_name(kind) for kind in self.on),
            never_on=tuple(class_name(kind) for kind in self.never_on),
        )


def class_name(kind: type) -> str:
    """Return the dotted name of a class, as `RetryRule` stores it."""
    return f"{kind.__module__}.{kind.__qualname__}"


@dataclass(frozen=True, slots=True, kw_only=True)
class StepOptions:
    """All that `@step` was told, checked and with the defaults applied."""

    effect: Effect
    retry: Retry
    timeout: timedelta | float
    on_failure: OnFailure
    idempotent: bool
    keep: str | None
    irreversible: str | None
    done: str | None
    pending: str | None
    failed: str | None
    ack_early: bool
    sending_options: Mapping[str, Any] = field(default_factory=dict)
    sensitive: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class Companion(Generic[P, R]):
    """A compensation, reconcile or verify function; calling it calls the bare function."""

    function: TaskFunction
    action: str = ""
    retry: Retry = field(default_factory=Retry)
    timeout: timedelta | float = DEFAULT_TIMEOUT
    on_failure: OnCompensationFailure = OnCompensationFailure.HALT
    idempotent: bool = False
    sending_options: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the bare function."""
        result: R = self.function.call(*args, **kwargs)
        return result

    def contract(self) -> CompensationContract:
        """Return the frozen, storable form of a compensation."""
        return CompensationContract(
            task=self.function.task_name,
            action=self.action,
            retry=self.retry.rule(),
            timeout_seconds=seconds(self.timeout),
            on_failure=self.on_failure,
            idempotent=self.idempotent,
            options=dict(self.sending_options),
        )

    def question(self) -> QuestionContract:
        """Return the frozen, storable form of a reconcile or verify function."""
        return QuestionContract(
            task=self.function.task_name,
            retry=self.retry.rule(),
            timeout_seconds=seconds(self.timeout),
            options=dict(self.sending_options),
        )


@dataclass(slots=True)
class _Attached:
    """The companions of a step and of its `named` copies: one pipeline fixes them for all."""

    by_kind: dict[str, Companion[..., Any]] = field(default_factory=dict)
    is_sealed: bool = False


class Step(Generic[P, R]):
    """A function with a recovery contract. Made by `@step`; calling it calls the bare function.

    Its companions (`compensation`, `reconcile`, `verify`) are attached by decorators of the same names, before the
    step is used in a pipeline: from then on its contract is fixed.
    """

    def __init__(self, function: TaskFunction, *, name: str, options: StepOptions) -> None:
        self.function = function
        self.name = name
        self.options = options
        self._attached = _Attached()

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the bare function, as in a unit test."""
        result: R = self.function.call(*args, **kwargs)
        return result

    def __repr__(self) -> str:
        """Show the name and the task."""
        return f"<step {self.name} ({self.function.task_name})>"

    @property
    def companions(self) -> dict[str, Companion[..., Any]]:
        """What was attached, by kind: `compensation`, `reconcile`, `verify`."""
        return self._attached.by_kind

    def named(self, name: str) -> Step[P, R]:
        """Return the same step under another name, to use it twice in one pipeline."""
        copy: Step[P, R] = Step(self.function, name=name, options=self.options)
        copy._attached = self._attached
        return copy

    def attach(self, kind: str, companion: Companion[..., Any]) -> None:
        """Attach a companion function.

        Raises:
            DefinitionError: there is one already, or the step is used in a pipeline, whose contract is fixed.
        """
        subject = f"{kind} of step {self.name!r}"
        if self._attached.is_sealed:
            raise DefinitionError(
                subject=subject,
                problem="the step is already part of a pipeline, whose contract is fixed",
                remedy="Define it above the pipeline.",
            )
        if kind in self.companions:
            raise DefinitionError(subject=subject, problem="there is one already", remedy="Keep one of them.")
        self.companions[kind] = companion

    def contract(self) -> StepContract:
        """Return the frozen contract; from now on nothing can be attached.

        Raises:
            DefinitionError: no recovery action is named, or more than one; a schema cannot be read.
        """
        subject = f"step {self.name!r}"
        options = self.options
        compensation = self.companions.get("compensation")
        recovery = validation.check_recovery(
            subject,
            options.effect,
            {"compensation": compensation, "keep": options.keep, "irreversible": options.irreversible},
        )
        for function in (self.function, *(companion.function for companion in self.companions.values())):
            _ = function.schema  # Resolved here, so that a type that cannot be stored is refused at import.
        hidden = check_fields_of_step(subject, options.sensitive, self.function)
        self._attached.is_sealed = True
        return StepContract(
            name=self.name,
            task=self.function.task_name,
            effect=options.effect,
            recovery=recovery,
            recovery_reason=options.keep or options.irreversible or "",
            compensation=compensation.contract() if compensation else None,
            idempotent=options.idempotent,
            has_own_key=self.function.key_function is not None,
            reconcile=self._question("reconcile"),
            verify=self._question("verify"),
            retry=options.retry.rule(),
            timeout_seconds=seconds(options.timeout),
            on_failure=options.on_failure,
            ack_early=options.ack_early,
            done=options.done or f"{self.name}_done",
            pending=options.pending or f"{self.name}_pending",
            failed=options.failed or f"{self.name}_failed",
            options=dict(options.sending_options),
            sensitive=hidden,
        )

    def _question(self, kind: str) -> QuestionContract | None:
        companion = self.companions.get(kind)
        return companion.question() if companion else None


class PipelineDefinition:
    """Steps in the order in which they run, checked; no I/O. Users make a `Pipeline`.

    Args:
        name: unique; runs are found by it.
        steps: each step starts when the one before it has succeeded.
        subject: a function of the input that says whom the run is about (a customer, an order); searchable.
        deadline: from enqueue on; see `Pipeline`.
        review_within: see `Pipeline`.
        customer_messages: see `Pipeline`.
        sensitive: see `Pipeline`.

    Raises:
        DefinitionError: the pipeline could not be run, or a step has no recovery action.
    """

    def __init__(
        self,
        name: str,
        steps: Sequence[Step[..., Any]],
        *,
        subject: Callable[[Any], str] | None = None,
        deadline: timedelta | float | None = None,
        review_within: timedelta | float | None = DEFAULT_REVIEW_WITHIN,
        customer_messages: Mapping[str, str] | None = None,
        sensitive: FieldNames = (),
    ) -> None:
        subject_of_error = f"pipeline {name!r}"
        for option, duration in (("deadline", deadline), ("review_within", review_within)):
            if duration is not None:
                validation.check_duration(subject_of_error, option, duration)
        messages = validation.check_customer_texts(subject_of_error, customer_messages)
        hidden = check_sensitive(subject_of_error, sensitive)
        validation.check_pipeline(name, steps, lambda entry: isinstance(entry, Step))
        contracts = tuple(step.contract() for step in steps)
        validation.check_contracts(name, contracts)
        hidden = check_fields_of_input(subject_of_error, hidden, [step.function for step in steps])
        self.name: Final = name
        self.steps: Final = tuple(steps)
        self.subject: Final = subject
        self.plan: Final = Plan(
            pipeline=name,
            steps=contracts,
            deadline_seconds=None if deadline is None else seconds(deadline),
            review_within_seconds=None if review_within is None else seconds(review_within),
            customer_messages=messages,
            sensitive=hidden,
        )
        validation.check_customer_states(subject_of_error, messages, all_operator_states(self.plan))

    @property
    def recorded_ids(self) -> dict[str, RecordedIds]:
        """Which external ids each step records, by the step's name, as far as the source shows it.

        Not part of the plan: it is known only where the functions are, and no rule depends on it.
        """
        return {step.name: step.function.recorded_ids for step in self.steps}

    def __repr__(self) -> str:
        """Show the name and the steps."""
        return f"<pipeline {self.name}: {' → '.join(step.name for step in self.steps)}>"

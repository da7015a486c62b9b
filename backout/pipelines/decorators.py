"""`@step` and its companions: a plain function becomes a step with a contract."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, Literal, ParamSpec, Protocol, TypeVar, overload

from backout.errors import DefinitionError
from backout.pipelines import validation
from backout.pipelines.contract import Effect, OnCompensationFailure, OnFailure
from backout.pipelines.definition import DEFAULT_TIMEOUT, Companion, Retry, Step, StepOptions
from backout.pipelines.functions import ORIGINAL_RUN, FunctionKind, TaskFunction, add_function
from backout.pipelines.sensitive import FieldNames, check_sensitive

P = ParamSpec("P")
R = TypeVar("R")
Q = ParamSpec("Q")
S = TypeVar("S")
Duration = timedelta | float
QuestionKind = Literal["reconcile", "verify"]

POLLING: Final = Retry(limit=30, delay=10.0, backoff="constant")
"""How often and when a verify function looks, unless it is told otherwise."""


class ExistingTask(Protocol):
    """What `step.from_task` needs of a Celery task."""

    name: str
    run: Callable[..., Any]


class StepDecorator:
    """The type of `step`: a decorator with options, and `step.from_task`."""

    @overload
    def __call__(self, function: Callable[P, R], /) -> DecoratedStep[P, R]: ...

    @overload
    def __call__(
        self,
        *,
        name: str | None = None,
        effect: Literal["read", "write", "notify", "publish"] = "write",
        retry: Retry | None = None,
        timeout: Duration = DEFAULT_TIMEOUT,
        on_failure: Literal["rollback", "park", "continue", "review"] = "rollback",
        idempotent: bool | None = None,
        idempotency_key: Callable[[Any], str] | None = None,
        keep: str | None = None,
        irreversible: str | None = None,
        done: str | None = None,
        pending: str | None = None,
        failed: str | None = None,
        ack: Literal["late", "early"] = "late",
        sensitive: FieldNames = (),
        **celery_options: Any,
    ) -> Callable[[Callable[P, R]], DecoratedStep[P, R]]: ...

    def __call__(self, *function: Callable[..., Any], **keywords: Any) -> Any:
        """Make a function a step.

        Args:
            function: the function, when the decorator is used without parentheses.
            keywords: the contract, see `docs`: `name`, `effect`, `retry`, `timeout` (per attempt; a bare number is
                seconds), `on_failure`, `idempotent` (default: only reads are), `idempotency_key` (a function of the
                input), `keep`, `irreversible`, the words `done`, `pending`, `failed`, `ack`, `sensitive` (fields of the
                output, and external ids, that people are shown masked), and Celery's options.

        Raises:
            DefinitionError: the function or an option cannot be used; the message says what to write instead.
        """
        if function:
            return _make_step(*function, **keywords)
        return lambda decorated: _make_step(decorated, **keywords)

    def from_task(self, task: ExistingTask, **keywords: Any) -> DecoratedStep[..., Any]:
        """Make an existing Celery task a step; its name, queue and options stay, and it can still be called as before.

        Late acknowledgement and reject on lost worker are turned on for the task, because R1 needs them.

        Args:
            task: takes `(input)` or `(input, ctx)`; a bound task's `self` does not count.
            keywords: as for `@step`, except Celery's options, which are the task's own.

        Raises:
            DefinitionError: as `@step`, and when the task retries behind the ledger's back (`autoretry_for`).
        """
        subject = f"task {task.name!r}"
        if getattr(task, "autoretry_for", None) or hasattr(task, "_orig_run"):
            validation.check_options(subject, {"autoretry_for": True}, "late")
        options = {name: getattr(task, name, None) for name in sorted(validation.SENDING_OPTIONS)}
        sending = {name: value for name, value in options.items() if value is not None}
        run = getattr(task.run, ORIGINAL_RUN, task.run)
        return _make_step(run, existing_task=task, **{**sending, **keywords})


class DecoratedStep(Step[P, R]):
    """A step with the decorators that attach its companions."""

    def compensation(
        self,
        *,
        action: str,
        retry: Retry | None = None,
        timeout: Duration = DEFAULT_TIMEOUT,
        on_failure: Literal["halt", "continue"] = "halt",
        idempotent: bool = False,
        name: str | None = None,
        **celery_options: Any,
    ) -> Callable[[Callable[Q, S]], Companion[Q, S]]:
        """Say how the step is undone: the function takes `(input, output)` or `(input, output, ctx)`.

        Args:
            action: the named recovery action, in words, such as "refund the charge".
            retry: its own retries; the default is `Retry()`.
            timeout: per attempt.
            on_failure: `"halt"` stops the walk and asks a person; `"continue"` goes on and reports at the end.
            idempotent: it may be run again under the same key when an attempt ended without an answer; otherwise a
                person is asked (R8).
            name: the last part of its task name; the function's name by default.
            celery_options: `queue`, `priority`, `rate_limit`, …
        """
        subject = f"compensation of step {self.name!r}"
        if not action or not isinstance(action, str):
            raise DefinitionError(
                subject=subject,
                problem="it has no action",
                remedy='Say in words what it does: action="refund the charge".',
            )
        validation.check_duration(subject, "timeout", timeout)
        validation.check_choice(subject, "on_failure", on_failure, list(OnCompensationFailure))
        validation.check_options(subject, celery_options, "late")
        sending, of_task = _split(celery_options)

        def attach(function: Callable[Q, S]) -> Companion[Q, S]:
            companion = Companion[Q, S](
                function=_register("compensation", subject, function, name=name, task_options=of_task),
                action=action,
                retry=retry or Retry(),
                timeout=timeout,
                on_failure=OnCompensationFailure(on_failure),
                idempotent=idempotent,
                sending_options=sending,
            )
            self.attach("compensation", companion)
            return companion

        return attach

    @overload
    def reconcile(self, function: Callable[Q, S], /) -> Companion[Q, S]: ...

    @overload
    def reconcile(
        self,
        *,
        retry: Retry | None = None,
        timeout: Duration = DEFAULT_TIMEOUT,
        name: str | None = None,
        **celery_options: Any,
    ) -> Callable[[Callable[Q, S]], Companion[Q, S]]: ...

    def reconcile(self, *function: Callable[..., Any], **keywords: Any) -> Any:
        """Say how to find out whether the effect happened: returns the output, `NotDone()` or `Unknown(why)`.

        Asked before a step in doubt runs again or is undone (R8), as a Celery task of its own, `(input)` or
        `(input, ctx)`. It only reads: an attempt of it that is cut off is simply asked again.

        Args:
            function: the function, when the decorator is used without parentheses.
            keywords: `retry` (default: `Retry()`; when it is used up a person is asked), `timeout` per attempt, `name`
                as for a compensation, and Celery's options.

        Raises:
            DefinitionError: the function or an option cannot be used; there is one already.
        """
        return self._attach_question("reconcile", function, {"retry": Retry(), **keywords})

    @overload
    def verify(self, function: Callable[Q, S], /) -> Companion[Q, S]: ...

    @overload
    def verify(
        self,
        *,
        retry: Retry | None = None,
        timeout: Duration = DEFAULT_TIMEOUT,
        name: str | None = None,
        **celery_options: Any,
    ) -> Callable[[Callable[Q, S]], Companion[Q, S]]: ...

    def verify(self, *function: Callable[..., Any], **keywords: Any) -> Any:
        """Say how to see that what was published is live: returns True or False; only for `effect="publish"`.

        Asked after the step has succeeded, until it says True; the next step starts only then. Takes
        `(input, output)` or `(input, output, ctx)`.

        Args:
            function: the function, when the decorator is used without parentheses.
            keywords: `retry` (how often and when to look again, default: 30 times, every 10 s; when it is used up, the
                review `not_live_after_publish` is opened), `timeout`, `name` and Celery's options as for `reconcile`.

        Raises:
            DefinitionError: the step publishes nothing; otherwise as `reconcile`.
        """
        if self.options.effect is not Effect.PUBLISH:
            raise DefinitionError(
                subject=f"verify of step {self.name!r}",
                problem=f'its effect is "{self.options.effect.value}"',
                remedy='Only a step with effect="publish" has a second acceptance; use `reconcile` for the others.',
            )
        return self._attach_question("verify", function, {"retry": POLLING, **keywords})

    def _attach_question(
        self, kind: QuestionKind, function: tuple[Callable[..., Any], ...], keywords: Mapping[str, Any]
    ) -> Any:
        attach = self._question_decorator(kind, **keywords)
        return attach(*function) if function else attach

    def _question_decorator(
        self,
        kind: QuestionKind,
        *,
        retry: Retry,
        timeout: Duration = DEFAULT_TIMEOUT,
        name: str | None = None,
        **celery_options: Any,
    ) -> Callable[[Callable[Q, S]], Companion[Q, S]]:
        subject = f"{kind} of step {self.name!r}"
        validation.check_duration(subject, "timeout", timeout)
        validation.check_options(subject, celery_options, "late")
        _check_types(subject, retry)
        sending, of_task = _split(celery_options)

        def attach(function: Callable[Q, S]) -> Companion[Q, S]:
            companion = Companion[Q, S](
                function=_register(kind, subject, function, name=name, task_options=of_task),
                retry=retry,
                timeout=timeout,
                sending_options=sending,
            )
            self.attach(kind, companion)
            return companion

        return attach


def _make_step(
    function: Callable[..., Any],
    *,
    name: str | None = None,
    effect: str = "write",
    retry: Retry | None = None,
    timeout: Duration = DEFAULT_TIMEOUT,
    on_failure: str = "rollback",
    idempotent: bool | None = None,
    idempotency_key: Callable[[Any], str] | None = None,
    keep: str | None = None,
    irreversible: str | None = None,
    done: str | None = None,
    pending: str | None = None,
    failed: str | None = None,
    ack: str = "late",
    sensitive: FieldNames = (),
    existing_task: ExistingTask | None = None,
    **celery_options: Any,
) -> DecoratedStep[..., Any]:
    subject = f"step {name or getattr(function, '__name__', function)!r}"
    if name is not None:
        validation.check_name(subject, name)
    validation.check_options(subject, celery_options, ack)
    validation.check_choice(subject, "effect", effect, list(Effect))
    validation.check_choice(subject, "on_failure", on_failure, list(OnFailure))
    validation.check_duration(subject, "timeout", timeout)
    validation.check_words(subject, {"done": done, "pending": pending, "failed": failed})
    _check_types(subject, retry, idempotency_key, keep, irreversible)
    hidden = check_sensitive(subject, sensitive)
    sending, of_task = _split(celery_options)
    task_function = _register(
        "step",
        subject,
        function,
        name=name,
        task_options=of_task,
        ack_early=ack == "early",
        key_function=idempotency_key,
        existing_task=existing_task,
    )
    options = StepOptions(
        effect=Effect(effect),
        retry=retry or Retry(),
        timeout=timeout,
        on_failure=OnFailure(on_failure),
        idempotent=effect == "read" if idempotent is None else idempotent,
        keep=keep,
        irreversible=irreversible,
        done=done,
        pending=pending,
        failed=failed,
        ack_early=ack == "early",
        sending_options=sending,
        sensitive=hidden,
    )
    return DecoratedStep(task_function, name=name or function.__name__, options=options)


def _check_types(
    subject: str, retry: object, key: object = None, keep: object = None, irreversible: object = None
) -> None:
    if retry is not None and not isinstance(retry, Retry):
        raise DefinitionError(subject=subject, problem=f"retry={retry!r}", remedy="Give retry=Retry(limit=3).")
    if key is not None and not callable(key):
        raise DefinitionError(
            subject=subject,
            problem=f"idempotency_key={key!r} is no function",
            remedy="Give a function of the input: idempotency_key=lambda order: order.id. The default is run and step.",
        )
    for word, value in (("keep", keep), ("irreversible", irreversible)):
        if value is not None and (not isinstance(value, str) or not value.strip()):
            raise DefinitionError(
                subject=subject,
                problem=f"{word}={value!r} gives no reason",
                remedy=f'Say why: {word}="the lead is useful by itself".',
            )


def _register(
    kind: FunctionKind,
    subject: str,
    function: Callable[..., Any],
    *,
    name: str | None,
    task_options: Mapping[str, Any],
    ack_early: bool = False,
    key_function: Callable[[Any], str] | None = None,
    existing_task: ExistingTask | None = None,
) -> TaskFunction:
    validation.check_function(subject, kind, function)
    registered = TaskFunction(
        kind=kind,
        task_name=existing_task.name if existing_task is not None else _task_name(function, name),
        call=function,
        task_options=task_options,
        ack_early=ack_early,
        key_function=key_function,
        existing_task=existing_task,
    )
    add_function(registered)
    return registered


def _task_name(function: Callable[..., Any], name: str | None) -> str:
    return f"{_module_name(function)}.{name or function.__name__}"


def _module_name(function: Callable[..., Any]) -> str:
    """Return the name under which a worker imports the function's module, also when it runs as a script here."""
    if function.__module__ != "__main__":
        return function.__module__
    main = sys.modules["__main__"]
    if main.__spec__ is not None:
        return main.__spec__.name
    return Path(inspect.getfile(function)).stem


def _split(options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    sending = {name: value for name, value in options.items() if name in validation.SENDING_OPTIONS}
    of_task = {name: value for name, value in options.items() if name in validation.TASK_OPTIONS}
    return sending, of_task


step = StepDecorator()
"""Make a function a step of a pipeline. See `StepDecorator.__call__` and `StepDecorator.from_task`."""

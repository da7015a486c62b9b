"""Every refusal at definition time, each with its remedy."""

from __future__ import annotations

import difflib
import inspect
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from itertools import islice
from typing import Any, Final, Literal

from backout.errors import DefinitionError
from backout.pipelines.contract import Effect, RecoveryKind, StepContract
from backout.states import RunState

SENDING_OPTIONS: Final = frozenset({"queue", "priority", "exchange", "routing_key", "compression", "headers"})
"""Celery options that go with each message; stored in the plan, so that any process can send the step."""

LONGEST_NAME: Final = 200
"""Characters in the name of a step or a pipeline."""

LONGEST_CUSTOMER_MESSAGE: Final = 500
"""Characters."""

MOST_STATES_COMPARED: Final = 5_000
"""With how many operator's states a misspelt one is compared; a long pipeline has millions."""

MOST_STATES_LISTED: Final = 30

TASK_OPTIONS: Final = frozenset({"base", "rate_limit", "send_events", "track_started", "trail"})
"""Celery options that belong to the task class in the worker."""

REFUSED_OPTIONS: Final[Mapping[str, str]] = {
    "autoretry_for": "Celery's retries would run behind the ledger's back; use `retry=Retry(on=(…))`",
    "retry_backoff": "use `retry=Retry(backoff=…)`",
    "retry_backoff_max": "use `retry=Retry(max_delay=…)`",
    "retry_jitter": "use `retry=Retry(jitter=…)`",
    "retry_kwargs": "use `retry=Retry(limit=…)`",
    "max_retries": "use `retry=Retry(limit=…)`",
    "default_retry_delay": "use `retry=Retry(delay=…)`",
    "dont_autoretry_for": "use `retry=Retry(never_on=(…))`",
    "time_limit": "use `timeout=timedelta(…)`, which also works on pools where Celery's limits do nothing",
    "soft_time_limit": "use `timeout=timedelta(…)`, which also works on pools where Celery's limits do nothing",
    "ignore_result": "the ledger keeps the result; a result backend is one more thing that can fail before the ack",
    "acks_on_timeout": "False makes a hot loop: the message comes back at once and for ever",
    "acks_on_failure": "False makes a hot loop: the message comes back at once and for ever",
    "acks_on_failure_or_timeout": "False makes a hot loop: the message comes back at once and for ever",
    "reject_on_worker_lost": "it is always on: otherwise Celery acknowledges the message of a killed worker",
    "expires": "an expired message is dropped, and the run would wait for the sweeper for nothing",
    "serializer": "messages carry ids only and are always JSON",
    "bind": "a step gets a context as its last argument instead: `def step(input, ctx)`",
    "pydantic": "the annotations of a step are its schema already",
    "typing": "the engine checks its own messages",
    "link": "the next step comes from the ledger; add it to the pipeline",
    "link_error": "Celery runs it inline and swallows its errors; use a compensation or `on_failure=`",
}
"""Celery options that would break a rule, each with the reason and what to use instead."""


def check_options(subject: str, options: Mapping[str, Any], ack: str) -> None:
    """Refuse Celery options that would break a rule, and words that nobody knows."""
    if ack not in ("late", "early"):
        raise DefinitionError(
            subject=subject,
            problem=f"ack={ack!r} is unknown",
            remedy='Use "late" (the default), or "early" for very long steps that may outlive any broker\'s patience.',
        )
    for name, value in options.items():
        if name == "acks_late":
            if value is not True and ack != "early":
                raise DefinitionError(
                    subject=subject,
                    problem="acks_late=False would acknowledge the message before its outcome is recorded (R1)",
                    remedy='Remove it; if the step is very long and you accept that, write ack="early".',
                )
        elif name in REFUSED_OPTIONS:
            raise DefinitionError(
                subject=subject,
                problem=f"the Celery option {name!r} cannot be used on a step",
                remedy=f"{REFUSED_OPTIONS[name][0].upper()}{REFUSED_OPTIONS[name][1:]}.",
            )
        elif name not in SENDING_OPTIONS and name not in TASK_OPTIONS:
            close = difflib.get_close_matches(name, [*SENDING_OPTIONS, *TASK_OPTIONS, *STEP_KEYWORDS], n=1)
            hint = f"Did you mean {close[0]!r}?" if close else f"Celery options: {', '.join(sorted(SENDING_OPTIONS))}."
            raise DefinitionError(subject=subject, problem=f"{name!r} is no option of a step", remedy=hint)


STEP_KEYWORDS: Final = (
    "name",
    "effect",
    "retry",
    "timeout",
    "on_failure",
    "idempotent",
    "idempotency_key",
    "keep",
    "irreversible",
    "done",
    "pending",
    "failed",
    "ack",
    "sensitive",
)

SIGNATURES: Final[Mapping[str, tuple[str, int]]] = {
    "step": ("(input) or (input, ctx)", 1),
    "compensation": ("(input, output) or (input, output, ctx)", 2),
    "reconcile": ("(input) or (input, ctx)", 1),
    "verify": ("(input, output) or (input, output, ctx)", 2),
}
"""What a function of each kind may take, and how many of its arguments are data."""


def check_function(subject: str, kind: Literal["step", "compensation", "reconcile", "verify"], function: Any) -> None:
    """Refuse a function that the engine could not call."""
    accepted, data_arguments = SIGNATURES[kind]
    if not callable(function) or isinstance(function, type):
        raise DefinitionError(
            subject=subject,
            problem=f"a {kind} must be a function, not {type(function).__name__}",
            remedy=f"Write `def name{accepted.split(' or ', maxsplit=1)[0]}:`.",
        )
    is_async = inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)
    if is_async or inspect.isgeneratorfunction(function):
        raise DefinitionError(
            subject=subject,
            problem="Celery runs plain functions; this one is async or a generator",
            remedy="Write a plain function; call `asyncio.run(…)` inside it where you need async code.",
        )
    if getattr(function, "__name__", "<lambda>") == "<lambda>":
        raise DefinitionError(
            subject=subject,
            problem="a lambda has no name under which a worker could find it",
            remedy="Use `def`, at module level.",
        )
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except ValueError as error:
        raise DefinitionError(
            subject=subject,
            problem="nobody can see what it takes",
            remedy=f"Wrap it: `def name{accepted.split(' or ', maxsplit=1)[0]}: ...`.",
        ) from error
    if any(p.kind not in positional for p in parameters) or len(parameters) not in (data_arguments, data_arguments + 1):
        raise DefinitionError(
            subject=subject,
            problem=f"its signature is {inspect.signature(function)}",
            remedy=f"A {kind} takes {accepted}.",
        )


def check_name(subject: str, name: object) -> None:
    """Refuse a step's name that the ledger could not store."""
    if not isinstance(name, str) or not 0 < len(name) <= LONGEST_NAME or "\x00" in name:
        raise DefinitionError(
            subject=subject,
            problem=f"{name!r:.80} is no name",
            remedy=f"Give text of 1 to {LONGEST_NAME} characters.",
        )


def check_duration(subject: str, name: str, value: timedelta | float) -> None:
    """Refuse a duration that is no time."""
    length = value.total_seconds() if isinstance(value, timedelta) else value
    if isinstance(value, bool) or not isinstance(length, int | float) or not 0 < length < float("inf"):
        raise DefinitionError(
            subject=subject,
            problem=f"{name}={value!r} is no length of time",
            remedy=f"Give a timedelta above zero: {name}=timedelta(seconds=30).",
        )


def check_choice(subject: str, name: str, value: object, choices: Iterable[str]) -> None:
    """Refuse a word that is not one of the contract's."""
    allowed = list(choices)
    if value not in allowed:
        raise DefinitionError(
            subject=subject,
            problem=f"{name}={value!r} is unknown",
            remedy=f"Use one of: {', '.join(allowed)}.",
        )


def check_words(subject: str, words: Mapping[str, str | None]) -> None:
    """Refuse state words that would not read as one in an operator's state."""
    for name, word in words.items():
        if word is not None and not (isinstance(word, str) and word.replace("_", "").isalnum()):
            raise DefinitionError(
                subject=subject,
                problem=f"{name}={word!r} is no word",
                remedy="Use letters, digits and underscores, such as 'card_charged'.",
            )


def check_recovery(subject: str, effect: Effect, named: Mapping[str, object]) -> RecoveryKind:
    """Return the recovery action that a step names; every effect but `read` must name exactly one.

    Args:
        subject: the step, for the message.
        effect: what the step does outside.
        named: recovery action to its value, falsy when it was not named: `compensation`, `keep`, `irreversible`.
    """
    given = [name for name, value in named.items() if value]
    if len(given) > 1:
        raise DefinitionError(
            subject=subject,
            problem=f"it names {' and '.join(given)}, and only one can be true",
            remedy="Keep one of them.",
        )
    if not given:
        if effect is Effect.READ:
            return RecoveryKind.NOTHING_TO_UNDO
        raise DefinitionError(
            subject=subject,
            problem=f'its effect is "{effect.value}" and it names no recovery action',
            remedy=(
                "Name exactly one: a function with `@step.compensation(action=…)` defined before the pipeline, "
                '`keep="why it may stay"`, or `irreversible="why it cannot be undone"`; '
                'if it only reads, say `effect="read"`.'
            ),
        )
    if effect is Effect.READ:
        raise DefinitionError(
            subject=subject,
            problem=f'its effect is "read", yet it names {given[0]}',
            remedy='Remove it, or declare `effect="write"`.',
        )
    kinds = {"keep": RecoveryKind.KEEP, "irreversible": RecoveryKind.IRREVERSIBLE}
    return kinds.get(given[0], RecoveryKind.COMPENSATE)


def check_pipeline(name: str, steps: object, is_step: Callable[[object], bool]) -> None:
    """Refuse a pipeline that could not be run or told apart."""
    subject = f"pipeline {name!r}"
    check_name(subject, name)
    if not isinstance(steps, list | tuple):
        raise DefinitionError(
            subject=subject,
            problem=f"its steps are a {type(steps).__name__}",
            remedy="Give a list: Pipeline(name, [first, second]).",
        )
    if not steps:
        raise DefinitionError(subject=subject, problem="it has no steps", remedy="Give at least one step.")
    for entry in steps:
        if not is_step(entry):
            raise DefinitionError(
                subject=subject,
                problem=f"{entry!r} is not a step",
                remedy="Decorate the function with @step, or wrap a Celery task in `step.from_task(task, …)`.",
            )


def check_contracts(name: str, contracts: Iterable[StepContract]) -> None:
    """Refuse two steps of one pipeline under one name."""
    for step, count in Counter(contract.name for contract in contracts).items():
        if count > 1:
            raise DefinitionError(
                subject=f"pipeline {name!r}",
                problem=f"the step name {step!r} is used {count} times",
                remedy=f'Give one of them another name: `{step}.named("…")`.',
            )


def check_customer_texts(subject: str, messages: object) -> dict[str, str]:
    """Return the messages for customers as they are stored; refuse what is no text that can be shown."""
    if messages is None:
        return {}
    if not isinstance(messages, Mapping):
        raise DefinitionError(
            subject=subject,
            problem=f"customer_messages is a {type(messages).__name__}",
            remedy='Give a dictionary from state to text: customer_messages={"in_review": "We are looking into it."}.',
        )
    for state, text in messages.items():
        if not isinstance(text, str) or not 0 < len(text.strip()) <= len(text) <= LONGEST_CUSTOMER_MESSAGE:
            raise DefinitionError(
                subject=subject,
                problem=f"customer_messages[{state!r}] is {text!r:.80}",
                remedy=f"Give text of 1 to {LONGEST_CUSTOMER_MESSAGE} characters.",
            )
        if "\x00" in text or text != text.encode(errors="ignore").decode():
            raise DefinitionError(
                subject=subject,
                problem=f"customer_messages[{state!r}] has characters that no database stores",
                remedy="Take the NUL characters and halves of surrogate pairs out.",
            )
    return {str(state): text for state, text in messages.items()}


def check_customer_states(subject: str, messages: Mapping[str, str], operator_states: Iterable[str]) -> None:
    """Refuse messages for states that no run of the pipeline can have.

    Args:
        subject: the pipeline, for the message.
        messages: state to text.
        operator_states: all that runs of the pipeline can have, the usual ones first; read as far as needed.
    """
    unknown = set(messages) - set(RunState)
    seen: list[str] = []
    for state in operator_states:
        if not unknown:
            return
        seen.append(state)
        unknown.discard(state)
    if not unknown:
        return
    wrong = min(unknown)
    close = difflib.get_close_matches(wrong, [*RunState, *islice(seen, MOST_STATES_COMPARED)], n=3)
    hint = f"Did you mean {' or '.join(map(repr, close))}? " if close else ""
    more = f" and {len(seen) - MOST_STATES_LISTED:,} more" if len(seen) > MOST_STATES_LISTED else ""
    raise DefinitionError(
        subject=subject,
        problem=f"customer_messages[{wrong!r}]: no run of it can have this state",
        remedy=(
            f"{hint}Run states: {', '.join(RunState)}. Operator's states: {', '.join(seen[:MOST_STATES_LISTED])}{more}."
        ),
    )

"""A pipeline's contract in words: what every format shows, said once. Pure.

All text is on one line and cannot steer a terminal; each format escapes it for itself. What is a name in code is marked
by `mark_code`, with characters that text from outside cannot have, and is found again by `split_code`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, assert_never

from backout.pipelines.contract import (
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
from backout.pipelines.masking import EVERYTHING
from backout.pipelines.warnings import ContractWarning
from backout.pipelines.words import state_while_running
from backout.views.words import clean, join_words, say_count, say_seconds, say_setting

_CODE: Final = ("\x02", "\x03")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One thing that is said of a step, and of its undo.

    Attributes:
        key: stable, for programs.
        undo: empty where it has none, or where nothing is to be said.
    """

    key: str
    step: str
    undo: str = ""

    @property
    def label(self) -> str:
        """The key for people."""
        return self.key.replace("_", " ")


@dataclass(frozen=True, slots=True, kw_only=True)
class StepWords:
    """The contract of one step.

    Attributes:
        action: the named recovery action, or why there is none.
        rows: all that is to be said, in the order in which it is read.
        stops_rollback: a rollback of this step's failure would have to pass these steps, and cannot (R7).
    """

    number: int
    name: str
    effect: Effect
    recovery: RecoveryKind
    action: str
    on_failure: OnFailure
    on_undo_failure: OnCompensationFailure | None
    rows: tuple[Row, ...]
    stops_rollback: tuple[str, ...]

    def row(self, key: str) -> Row:
        """Return what is said under a key."""
        return next(row for row in self.rows if row.key == key)


@dataclass(frozen=True, slots=True, kw_only=True)
class WarningWords:
    """One warning; problem and remedy are sentences."""

    code: str
    step: str
    problem: str
    remedy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ContractWords:
    """The contract of a pipeline.

    Attributes:
        facts: of runs as a whole, each a sentence.
        messages: state and what a customer is then told.
    """

    pipeline: str
    digest: str
    facts: tuple[str, ...]
    steps: tuple[StepWords, ...]
    messages: tuple[tuple[str, str], ...]
    warnings: tuple[WarningWords, ...]


def tell_contract(plan: Plan, warnings: Sequence[ContractWarning]) -> ContractWords:
    """Return all that a pipeline's contract says."""
    return ContractWords(
        pipeline=clean(plan.pipeline),
        digest=plan.digest,
        facts=tuple(_tell_facts(plan)),
        steps=tuple(_tell_step(plan, position) for position in range(len(plan.steps))),
        messages=tuple((clean(state), clean(text)) for state, text in plan.customer_messages.items()),
        warnings=tuple(_tell_warning(warning) for warning in warnings),
    )


def mark_code(name: object) -> str:
    """Return a name as it stands in code, marked as such."""
    return f"{_CODE[0]}{clean(name)}{_CODE[1]}"


def split_code(text: str) -> Iterator[tuple[str, bool]]:
    """Yield the parts of a text, each with whether it is code."""
    for place, part in enumerate(re.split(f"{_CODE[0]}(.*?){_CODE[1]}", text)):
        if part:
            yield part, place % 2 == 1


def plain(text: str) -> str:
    """Return a text with its code between backticks."""
    return text.replace(_CODE[0], "`").replace(_CODE[1], "`")


def say_fields(sensitive: Sequence[str]) -> str:
    """Return which fields are shown masked: `card_number, customer.iban`."""
    return ", ".join("everything" if name == EVERYTHING else mark_code(name) for name in sensitive)


def say_retry(rule: RetryRule) -> str:
    """Return how often and when an attempt is repeated: `3 retries, 2 s doubling to 8 s, only on ConnectionError`."""
    if rule.limit == 0:
        return "no retry"
    retries = f"{rule.limit:,} retries" if rule.limit != 1 else "1 retry"
    parts = [retries, _say_delays(rule)]
    parts += [f"only on {join_words([last_name(name) for name in rule.on])}"] if rule.on else []
    parts += [f"never on {join_words([last_name(name) for name in rule.never_on])}"] if rule.never_on else []
    return ", ".join(parts)


def _say_delays(rule: RetryRule) -> str:
    first, last = (rule.delay_before_retry(retry, chance=0.5) for retry in (1, rule.limit))
    if not last:
        return "at once"
    if rule.limit == 1:
        return say_setting(first)
    if first == last:
        return f"{say_setting(first)} each"
    growth = "doubling" if rule.backoff is Backoff.EXPONENTIAL else "growing"
    return f"{say_setting(first)} {growth} to {say_setting(last)}"


def last_name(dotted_name: str) -> str:
    """Return the last part of a dotted name."""
    return clean(dotted_name.rpartition(".")[2])


def say_action(step: StepContract) -> str:
    """Return the named recovery action, or why there is none."""
    match step.recovery:
        case RecoveryKind.COMPENSATE:
            return clean(step.compensation.action) if step.compensation else ""
        case RecoveryKind.KEEP:
            return f"stays: {clean(step.recovery_reason)}"
        case RecoveryKind.IRREVERSIBLE:
            return f"cannot be undone: {clean(step.recovery_reason)}"
        case RecoveryKind.NOTHING_TO_UNDO:
            return "nothing to undo"
        case _ as never:
            assert_never(never)


def _tell_facts(plan: Plan) -> Iterator[str]:
    count = say_count(len(plan.steps), "step")
    yield f"{count}; each starts when the one before it is done." if len(plan.steps) > 1 else f"{count}."
    if plan.deadline_seconds is None:
        yield "No deadline: a run may take as long as it needs."
    else:
        deadline = say_seconds(plan.deadline_seconds)
        yield f"Deadline {deadline} after the enqueue: a step that would start later fails without being called."
    if plan.review_within_seconds is None:
        yield "No deadline for what a person is asked."
    else:
        yield f"What a person is asked should be decided within {say_seconds(plan.review_within_seconds)}."
    if plan.sensitive:
        yield f"Shown masked, of the input: {say_fields(plan.sensitive)}."


def _tell_step(plan: Plan, position: int) -> StepWords:
    step = plan.steps[position]
    until_here = plan.steps[: position + 1]
    barriers = tuple(clean(other.name) for other in until_here if other.recovery is RecoveryKind.IRREVERSIBLE)
    stops_rollback = barriers if step.on_failure is OnFailure.ROLLBACK else ()
    return StepWords(
        number=position + 1,
        name=clean(step.name),
        effect=step.effect,
        recovery=step.recovery,
        action=say_action(step),
        on_failure=step.on_failure,
        on_undo_failure=step.compensation.on_failure if step.compensation else None,
        rows=tuple(_tell_rows(plan, position, stops_rollback)),
        stops_rollback=stops_rollback,
    )


def _tell_rows(plan: Plan, position: int, stops_rollback: Sequence[str]) -> Iterator[Row]:
    step, undo = plan.steps[position], plan.steps[position].compensation
    last_done = plan.steps[position - 1] if position else None
    yield Row(key="task", step=mark_code(step.task), undo=mark_code(undo.task) if undo else "")
    yield Row(key="effect", step=_say_effect(step.effect))
    yield Row(key="recovery_action", step=say_action(step))
    yield Row(
        key="idempotency_key",
        step=_say_key(step),
        undo="the key of the step, with " + mark_code(":undo") + " at its end" if undo else "",
    )
    yield Row(key="idempotent", step=_say_idempotent(step), undo=_say_idempotent(undo) if undo else "")
    yield Row(key="attempts", step=_say_attempts(step), undo=_say_attempts(undo) if undo else "")
    yield Row(
        key="if_it_fails_for_good",
        step=_say_failure(step, stops_rollback),
        undo=_say_failed_undo(undo) if undo else "",
    )
    yield Row(key="if_it_is_cut_off", step=_say_doubt(step), undo=_say_undo_in_doubt(undo) if undo else "")
    yield Row(key="reconcile", step=_say_question(step.reconcile, "none"), undo=_say_asked_first(step))
    if step.effect is Effect.PUBLISH or step.verify is not None:
        yield Row(key="verify", step=_say_question(step.verify, "none: it counts as live when it is done"))
    words = (("done", step.done), ("pending", step.pending), ("failed", step.failed))
    yield Row(key="words", step=", ".join(f"{name} {mark_code(word)}" for name, word in words))
    yield Row(key="operator_sees", step=f"{mark_code(state_while_running(last_done, step))} while it is due or runs")
    if step.sensitive:
        yield Row(key="shown_masked", step=say_fields(step.sensitive))
    yield Row(key="queue", step=_say_options(step.options), undo=_say_options(undo.options) if undo else "")
    if step.ack_early:
        yield Row(key="acknowledged", step="when it starts, not when its outcome is recorded (R1 is given up)")


def _say_effect(effect: Effect) -> str:
    match effect:
        case Effect.READ:
            return "read: changes nothing"
        case Effect.WRITE:
            return "write: creates or changes something outside"
        case Effect.NOTIFY:
            return "notify: reaches a customer or an operator"
        case Effect.PUBLISH:
            return "publish: makes something live"
        case _ as never:
            assert_never(never)


def _say_key(step: StepContract) -> str:
    if step.has_own_key:
        return "made from the input; a second run that meets a success under the same key takes its result"
    return mark_code(f"{{run_id}}:{step.name}")


def _say_idempotent(contract: StepContract | CompensationContract) -> str:
    return "yes: again under the same key has no second effect" if contract.idempotent else "no"


def _say_attempts(contract: StepContract | CompensationContract | QuestionContract) -> str:
    return f"{say_retry(contract.retry)}; timeout {say_setting(contract.timeout_seconds)} each"


def _say_failure(step: StepContract, stops_rollback: Sequence[str]) -> str:
    match step.on_failure:
        case OnFailure.ROLLBACK if stops_rollback:
            names = join_words([mark_code(name) for name in stops_rollback])
            return f"a person is asked: {names} cannot be undone, so nothing is rolled back by itself"
        case OnFailure.ROLLBACK:
            return "rollback: what was done is undone, in reverse order"
        case OnFailure.PARK:
            return "park: what was done stays, and the run can be resumed here"
        case OnFailure.CONTINUE:
            return "continue: the failure is recorded, and the run goes on"
        case OnFailure.REVIEW:
            return "review: a person decides"
        case _ as never:
            assert_never(never)


def _say_failed_undo(undo: CompensationContract) -> str:
    match undo.on_failure:
        case OnCompensationFailure.HALT:
            return "halt: the rollback stops, and a person is asked"
        case OnCompensationFailure.CONTINUE:
            return "continue: the rollback goes on, and says at its end what is left"
        case _ as never:
            assert_never(never)


def _say_doubt(step: StepContract) -> str:
    """Return what follows when nobody knows whether it happened (R8)."""
    asked = mark_code(last_name(step.reconcile.task)) if step.reconcile else "a person"
    if step.idempotent:
        return f"runs again under the same key; if that keeps happening, {asked} is asked"
    if step.reconcile is not None:
        return (
            f"{asked} is asked: it happened, and the run goes on; it did not, and it runs again; else a person is asked"
        )
    return "a person is asked: nobody else can tell whether it happened"


def _say_undo_in_doubt(undo: CompensationContract) -> str:
    if undo.idempotent:
        return "runs again under the same key; if that keeps happening, a person is asked"
    return "a person is asked: nobody else can tell whether it happened"


def _say_asked_first(step: StepContract) -> str:
    if step.reconcile is None or step.compensation is None:
        return ""
    return (
        f"{mark_code(last_name(step.reconcile.task))} is asked first where the step failed: is there anything to undo?"
    )


def _say_question(question: QuestionContract | None, otherwise: str) -> str:
    if question is None:
        return otherwise
    queue = f"; queue {_say_options(question.options)}" if question.options else ""
    return f"{mark_code(question.task)}: {_say_attempts(question)}{queue}"


def _say_options(options: dict[str, object]) -> str:
    others = [f"{name} {mark_code(value)}" for name, value in options.items() if name != "queue"]
    return ", ".join([mark_code(options["queue"]) if "queue" in options else "Celery's default", *others])


def _tell_warning(warning: ContractWarning) -> WarningWords:
    return WarningWords(
        code=warning.code.value,
        step=clean(warning.step),
        problem=f"{_mark_backticks(warning.problem)}.",
        remedy=f"{_mark_backticks(warning.remedy)}.",
    )


def _mark_backticks(text: str) -> str:
    return re.sub("`([^`]+)`", lambda found: mark_code(found[1]), clean(text))

"""What user functions see as `ctx`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from types import MappingProxyType
from typing import Any

from backout.errors import OutputMissing
from backout.identifiers import RunId
from backout.ledger import queries, transitions
from backout.ledger.records import Claim, StepRecord
from backout.ledger.session import Ledger
from backout.pipelines.contract import RetryRule, StepContract
from backout.pipelines.definition import Step
from backout.pipelines.functions import find_function
from backout.pipelines.schema import from_json
from backout.states import Answer, StepState
from backout.tasks.shield import shield


class StepContext:
    """The context of one attempt.

    Attributes:
        run_id: the run.
        pipeline: its name.
        step: the name of the step.
        attempt: 1 for the first; an attempt that was lost counts.
        idempotency_key: the same for every attempt; pass it to whatever has the effect.
        subject_id: whom the run is about; `None` when the pipeline names nobody.
    """

    def __init__(
        self,
        *,
        ledger: Ledger,
        claim: Claim,
        contract: StepContract,
        ids_of_step: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._ledger = ledger
        self._claim = claim
        self._contract = contract
        # What a compensation or a question records stands in its own row; what it is about, in the step's.
        self._external_ids: dict[str, str] = {**claim.run.external_ids, **ids_of_step, **claim.external_ids}
        self.run_id: RunId = claim.key.run_id
        self.pipeline = claim.run.pipeline
        self.step = claim.step
        self.attempt = claim.attempt
        self.idempotency_key = claim.idempotency_key
        self.subject_id = claim.run.subject_id

    @property
    def external_ids(self) -> Mapping[str, str]:
        """Ids of the outside world that this run has recorded, by name; this step's own win."""
        return MappingProxyType(self._external_ids)

    def record_external_id(self, name: str, value: object) -> None:
        """Record an id of the outside world; it is committed before this returns (R14).

        Call it as soon as the id is known: compensations and reconcile functions see it even if this attempt is cut off
        on the next line.

        Raises:
            ValueError: the name or the value is empty or too long, or has characters that no database stores.
        """
        text = str(value)
        if not name or not text or len(name) > 100 or len(text) > 1_000 or "\x00" in name + text:
            message = (
                f"an external id needs a name (1 to 100 characters) and a value (1 to 1,000), got {name!r}={text!r:.80}"
            )
            raise ValueError(message)

        def write() -> None:
            # Signals wait for the commit, and only for that: a timeout still ends the wait for a database that is away.
            with shield(), self._ledger.change() as connection:
                transitions.record_external_id(connection, self._claim, name=name, value=text)

        # Written twice it merges the same pair.
        self._ledger.persist(write, recognise=lambda _: None, what=f"external id {name!r} of {self.step}")
        self._external_ids[name] = text

    def output(self, step: Step[..., Any] | str) -> Any:
        """Return the recorded output of an earlier step of this run, typed as the step declares.

        Raises:
            OutputMissing: the step has not succeeded in this run, or was undone.
        """
        name = step if isinstance(step, str) else step.name
        # An outage is no failure of the step: it waits, at most until its timeout.
        record = self._ledger.read_patiently(
            lambda where: queries.find_output(where, self.run_id, name),
            what=f"the output of {name}",
        )
        if record is None:
            raise OutputMissing(run_id=self.run_id, step=name)
        return typed_output(step if isinstance(step, Step) else None, record)


@dataclass(frozen=True, slots=True, kw_only=True)
class UndoneStep:
    """The forward step that a compensation undoes.

    Attributes:
        attempts: attempts made.
        retry: its retry settings, with the defaults that were applied.
        output: typed as the step declares, also where its reconcile function found it; `None` if there is none.
        external_ids: that it recorded, by name.
        error: of its last failed attempt, with `type` and `message`; `None` if it succeeded.
    """

    name: str
    attempts: int
    retry: RetryRule
    timeout: timedelta
    output: Any
    external_ids: Mapping[str, str]
    idempotency_key: str
    error: Mapping[str, Any] | None = field(repr=False)


class CompensationContext(StepContext):
    """The context of one attempt of a compensation.

    Attributes:
        undoes: the step it undoes. `ctx.external_ids` has that step's ids too.
        cause: the error that caused the rollback, in one line.
        requested_by: who asked for the rollback; `"engine"` when a step failed.
    """

    def __init__(
        self,
        *,
        ledger: Ledger,
        claim: Claim,
        contract: StepContract,
        undoes: UndoneStep,
        cause: str,
        requested_by: str,
    ) -> None:
        super().__init__(ledger=ledger, claim=claim, contract=contract, ids_of_step=undoes.external_ids)
        self.undoes = undoes
        self.cause = cause
        self.requested_by = requested_by


def undone_step(contract: StepContract, record: StepRecord, question: StepRecord | None) -> UndoneStep:
    """Return the forward step as its compensation sees it.

    Args:
        contract: of the step.
        record: its row.
        question: the row of its reconcile function; `None` when that was never asked.
    """
    return UndoneStep(
        name=contract.name,
        attempts=record.attempt,
        retry=contract.retry,
        timeout=timedelta(seconds=contract.timeout_seconds),
        output=_output_of(contract, record, question),
        external_ids=MappingProxyType(dict(record.external_ids)),
        idempotency_key=record.idempotency_key,
        error=record.error,
    )


def _output_of(contract: StepContract, record: StepRecord, question: StepRecord | None) -> Any:
    if record.error is None and record.finished_at is not None:
        stored = record.output
    elif question is not None and (answer := _answer_of(question)).get("answer") == Answer.DONE:
        stored = answer.get("output")
    else:
        return None
    function = find_function(contract.task)
    return stored if function is None else from_json(function.schema.output_type, stored)


def _answer_of(question: StepRecord) -> Mapping[str, Any]:
    is_answered = question.state is StepState.SUCCEEDED and isinstance(question.output, Mapping)
    return question.output if is_answered and isinstance(question.output, Mapping) else {}


def typed_output(step: Step[..., Any] | None, record: StepRecord) -> Any:
    """Return a recorded output as its step declares it; as plain JSON when only the name is known."""
    return record.output if step is None else from_json(step.function.schema.output_type, record.output)

"""What can follow from an outcome: one value for each way to go on. `advance` decides, `record` writes. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from backout.ledger.records import StepRecord
from backout.pipelines.contract import StepContract
from backout.states import ReviewReason
from backout.tasks.outcome import Answered, ErrorFacts, Failed, RetryLater, Skipped, Succeeded


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """Where a run goes after a forward step.

    Attributes:
        following: the next step; `None` at the end of the run.
        position: of the next step.
        key: its idempotency key; empty where it is asked first.
        standing: at the end of the run, the last step's row of an earlier round, whose output is the run's; `None`: the
            run ends with its last step.
        verifies: first it is asked whether what this step has published is live; `following` is then this step.
    """

    following: StepContract | None
    operator_state: str
    position: int = 0
    key: str = ""
    standing: StepRecord | None = None
    verifies: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class GoOn:
    """Record the end of a forward step, and go on."""

    outcome: Succeeded | Skipped | Failed
    onward: Way


@dataclass(frozen=True, slots=True, kw_only=True)
class TryAgain:
    """Record the failed attempt and when the next one is due."""

    outcome: RetryLater


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnBack:
    """Record the failed step and roll back what was done, unless an irreversible step is in the way."""

    outcome: Failed


@dataclass(frozen=True, slots=True, kw_only=True)
class Park:
    """Record the failed step; the run waits."""

    error: ErrorFacts
    no_effect: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """Record the failed step, in either direction, and open a review."""

    error: ErrorFacts
    review: ReviewReason
    no_effect: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class GiveBack:
    """Give the claim back: another attempt under the same key is safe."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubt:
    """Record that the effect may exist and open a review."""

    reason: str
    review: ReviewReason


@dataclass(frozen=True, slots=True, kw_only=True)
class AskFirst:
    """Record that the effect may exist, and ask the step's reconcile function whether it does (R8)."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UndoNext:
    """Record the end of a compensation and make the next one ready, or close the rollback."""

    outcome: Succeeded | Skipped | Failed


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirm:
    """Reconcile says that the step in doubt has happened: record its output, and go on."""

    answer: Answered
    onward: Way


@dataclass(frozen=True, slots=True, kw_only=True)
class RunAgain:
    """Reconcile says that the step in doubt has not happened: let it run again."""

    answer: Answered
    operator_state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UndoAnswered:
    """On the way back: record the answer; undo what has happened, leave out what has not, and go on."""

    answer: Answered


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """What the step has published is live: go on."""

    onward: Way


@dataclass(frozen=True, slots=True, kw_only=True)
class Unanswered:
    """The question leaves the matter open: record that, and open a review about its step.

    Attributes:
        answer: what it answered, when it did.
        error: why it did not.
    """

    reason: str
    review: ReviewReason
    answer: Answered | None = None
    error: ErrorFacts | None = None


Decision = (
    GoOn
    | TryAgain
    | TurnBack
    | Park
    | Ask
    | GiveBack
    | AskFirst
    | Doubt
    | UndoNext
    | Confirm
    | RunAgain
    | UndoAnswered
    | Verified
    | Unanswered
)

"""What an action by hand writes, as values: the pure decision lists them, `actions` carries them out in order."""

from __future__ import annotations

from dataclasses import dataclass, field

from backout.compensations.plan import RollbackPlan
from backout.compensations.requests import PlannedTask
from backout.jsontext import JsonValue
from backout.ledger.records import StepKey, StepRecord
from backout.states import RunState, StepState


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """Keep a row that is due from being claimed."""

    key: StepKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Hasten:
    """Make a scheduled retry due now."""

    key: StepKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Close:
    """End a row that will not run."""

    row: StepRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Drop:
    """Leave an undo out: there is nothing to undo."""

    row: StepRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """Let a row be claimed that was held."""

    key: StepKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Reopen:
    """Let a row run again: at once, or when its turn comes."""

    row: StepRecord
    state: StepState = StepState.READY


@dataclass(frozen=True, slots=True, kw_only=True)
class Clear:
    """Let a step in doubt run again."""

    row: StepRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """Ask a step's reconcile or verify function, again or for the first time."""

    key: StepKey
    row: StepRecord
    """The step that is asked about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settle:
    """Record that a row is done, because a person says so."""

    row: StepRecord
    output: JsonValue = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkUndone:
    """Record that a forward step is undone, because a person says that its compensation is done."""

    row: StepRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Make a step ready that has no row yet."""

    key: StepKey
    step: str
    start_order: int
    idempotency_key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveRun:
    """Walk an arrow of the run: `pause_run`, `cancel_run`, `close_run`, `continue_rollback`."""

    arrow: str
    operator_state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ResumeRun:
    """Let the run go on.

    Attributes:
        is_error_over: what the run failed with does not hold any more.
    """

    operator_state: str
    round_number: int
    last_successful_step: str | None
    is_error_over: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnRunBack:
    """Start a rollback by hand."""

    operator_state: str
    plan: RollbackPlan
    to_position: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SucceedRun:
    """Close a run that has no step left."""

    operator_state: str
    output: JsonValue


@dataclass(frozen=True, slots=True, kw_only=True)
class WalkBack:
    """Make the next of the way back ready, or close the rollback."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DecideReview:
    """Record a person's decision."""

    review_id: int
    decision: str


Move = (
    Hold
    | Hasten
    | Close
    | Drop
    | Ready
    | Reopen
    | Clear
    | Ask
    | Settle
    | MarkUndone
    | Start
    | MoveRun
    | ResumeRun
    | TurnRunBack
    | SucceedRun
    | WalkBack
    | DecideReview
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """What an action would do.

    Attributes:
        moves: what is written, in order, in one transaction.
        leads_to: the state of the run right after it.
        tasks: the Celery tasks that would run, in order. Forward only the next one: what follows depends on it.
        notes: what a person should know before they agree, each a sentence.
        is_safe: nothing can be done twice or lost by it, as far as the record can tell.
    """

    moves: tuple[Move, ...]
    leads_to: RunState
    tasks: tuple[PlannedTask, ...] = ()
    notes: tuple[str, ...] = field(default=())
    is_safe: bool = True

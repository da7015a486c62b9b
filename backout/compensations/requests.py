"""The verbs by hand as values: what a person asks for, what a run looks like to them, and what would follow. Pure.

`decisions` turns a request about a run into an intent or a refusal; `actions` carries the intent out; a preview shows
it. All three use the same values, so that a preview cannot promise what an action does not do.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import cached_property

from backout.jsontext import JsonValue
from backout.ledger.records import ReviewRecord, RunRecord, StepKey, StepRecord
from backout.pipelines.contract import Plan
from backout.states import Direction, StepState


class Verb(StrEnum):
    """What a person can do about a run. The same name in Python, on the command line, in Flower and in Django."""

    RETRY_STEP = "retry_step"
    """Run the step again at which the run stopped, with its retries again."""
    RESUME = "resume"
    """Let a run go on where it stopped: paused, parked, rolled back, cancelled or closed."""
    SKIP_STEP = "skip_step"
    """Go on without the step at which the run stopped."""
    ROLLBACK = "rollback"
    """Undo what was done, all of it or back to a step; also long after the run succeeded."""
    RERUN_COMPENSATION = "rerun_compensation"
    """Run one compensation again, from the ledger."""
    CONTINUE_ROLLBACK = "continue_rollback"
    """Let a rollback go on that has stopped; compensations that failed run again."""
    RESOLVE = "resolve"
    """Decide a review."""
    CANCEL = "cancel"
    """Stop a run; what was done stays."""
    PAUSE = "pause"
    """Let nothing new start until the run is resumed."""


class ReviewDecision(StrEnum):
    """How a person decides a review."""

    DONE = "done"
    """It has happened, or was done by hand: record it so, and go on."""
    NOT_DONE = "not_done"
    """It has not happened: it may run again."""
    ACCEPT = "accept"
    """Leave it as it is: the run is closed, or the rollback goes on without this undo."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a person asks for.

    Attributes:
        step: the name of a step, for `retry_step`, `skip_step` (as a check) and `rerun_compensation`.
        to_step: for `rollback`: the last step that is left as it is; `None`: all are undone.
        across_irreversible: for `rollback`: why it may pass a step that cannot be undone (R7).
        review_id: for `resolve`; `None`: the one review of the run that is open.
        decision: for `resolve`.
        output: for `resolve` with `done`: what the step would have returned, as JSON.
        with_rollback: for `cancel`: undo what was done, which is the same as `rollback`.
    """

    verb: Verb
    step: str | None = None
    to_step: str | None = None
    across_irreversible: str | None = None
    review_id: int | None = None
    decision: ReviewDecision | None = None
    output: JsonValue = None
    with_rollback: bool = False


@dataclass(frozen=True, kw_only=True)
class RunView:
    """A run as a person sees it when they decide: everything that a decision by hand depends on.

    Attributes:
        plan: as recorded with the run.
        steps: all its rows.
        reviews: those that are open, oldest first.
        is_rollback_open: a rollback was started and has not come to its end, in whatever state the run is.
        alive_until: an attempt that was given up may still run until then (R5); `None`: none can.
        now: aware, by the database's clock; `None`: nobody has looked.
    """

    plan: Plan
    run: RunRecord
    steps: tuple[StepRecord, ...]
    reviews: tuple[ReviewRecord, ...]
    is_rollback_open: bool
    alive_until: datetime | None
    now: datetime | None = None

    def may_still_run(self, row: StepRecord) -> bool:
        """Return whether an attempt of a row that was given up may still run."""
        return row.may_run_until is not None and self.now is not None and row.may_run_until > self.now

    @cached_property
    def version(self) -> str:
        """What the decision is made on, in 16 characters: equal as long as nothing has changed that matters (R13)."""
        parts = [
            self.run.state.value,
            str(self.run.round),
            # With the time of a retry: to bring it forward changes nothing else.
            *(f"{s.round}/{s.position}/{s.direction}/{s.state}/{s.attempt}/{s.next_retry_at}" for s in self.steps),
            *(f"review {review.id}" for review in self.reviews),
        ]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]

    @cached_property
    def running(self) -> tuple[StepRecord, ...]:
        """The rows of which an attempt is running now."""
        return tuple(step for step in self.steps if step.state is StepState.RUNNING)

    @cached_property
    def frontier(self) -> StepRecord | None:
        """The forward step at which the run stands: the last that was started, or made ready; `None`: none yet."""
        forward = [step for step in self.steps if step.direction is Direction.FORWARD]
        return max(forward, key=lambda step: (step.round, step.start_order), default=None)

    @cached_property
    def stopped_undos(self) -> tuple[StepRecord, ...]:
        """The undos that failed or are in doubt."""
        return tuple(
            step
            for step in self.steps
            if step.direction is Direction.COMPENSATION and step.state in (StepState.FAILED, StepState.IN_DOUBT)
        )

    def find(self, key: StepKey) -> StepRecord | None:
        """Return one of the rows."""
        return next((step for step in self.steps if step.key == key), None)

    def companion(self, row: StepRecord, direction: Direction) -> StepRecord | None:
        """Return the row of the same step in another direction."""
        place = (row.round, row.position)
        return next((s for s in self.steps if (s.round, s.position) == place and s.direction is direction), None)

    def review(self, review_id: int | None) -> ReviewRecord | None:
        """Return an open review; the oldest when none is named."""
        return next((review for review in self.reviews if review_id in (None, review.id)), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why what was asked for is not done.

    Attributes:
        why: in words, without a full stop.
        remedy: what to do instead, a sentence.
        is_busy: only because an attempt is running; when that has ended it may be asked again.
    """

    why: str
    remedy: str
    is_busy: bool = False


class TaskKind(StrEnum):
    """What a task that would run is for."""

    RUN = "run"
    UNDO = "undo"
    ASK = "ask"
    VERIFY = "verify"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedTask:
    """A Celery task that would run.

    Attributes:
        name: of the Celery task.
        action: the named recovery action of a compensation; empty otherwise.
        given: what it would be called with besides the run's input: `output`, `external_ids`, `idempotency_key`.
        missing: what it will not have, in words; empty: nothing.
    """

    kind: TaskKind
    name: str
    step: str
    action: str = ""
    given: dict[str, JsonValue]
    missing: tuple[str, ...] = ()

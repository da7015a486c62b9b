"""Write an intent into the ledger: each move is one transition, with the actor and the reason in its entry."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, assert_never

from backout.compensations.moves import (
    Ask,
    Clear,
    Close,
    DecideReview,
    Drop,
    Hasten,
    Hold,
    Intent,
    MarkUndone,
    Move,
    MoveRun,
    Ready,
    Reopen,
    ResumeRun,
    Settle,
    Start,
    SucceedRun,
    TurnRunBack,
    WalkBack,
)
from backout.compensations.requests import RunView
from backout.compensations.way_back import (
    finish_way_back,
    record_way_back,
    remaining_chain,
    rows_of_way_back,
    walk_back,
)
from backout.errors import StateChanged
from backout.identifiers import new_task_id
from backout.ledger import queries, transitions
from backout.ledger.records import StepKey, StepRecord
from backout.ledger.session import LedgerConnection
from backout.pipelines.message import StepMessage
from backout.settings import Settings
from backout.states import Direction, RunState, StepState


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What was written, and what to send after the commit.

    Attributes:
        state: of the run.
        steps: messages to send one by one.
        compensations: messages to send as one chain.
    """

    state: RunState
    steps: tuple[StepMessage, ...] = ()
    compensations: tuple[StepMessage, ...] = ()


@dataclass(slots=True, kw_only=True)
class _Pen:
    """One action that is being written."""

    connection: LedgerConnection
    settings: Settings
    view: RunView
    actor: str
    reason: str
    steps: list[StepMessage] = field(default_factory=list)
    compensations: tuple[StepMessage, ...] = ()

    @property
    def by(self) -> dict[str, str]:
        """Who asks, and why."""
        return {"actor": self.actor, "reason": self.reason}

    def send(self, key: StepKey, task_id: Any, attempt: int = 1) -> None:
        """Note a message that goes out after the commit."""
        self.steps.append(StepMessage.of(self.view.plan, key, task_id=task_id, attempt=attempt))

    def require(self, is_written: object, what: str) -> None:
        """Give up when a row is not any more what the decision was made on (R13)."""
        if not is_written:
            raise StateChanged(
                verb="the action",
                run_id=self.view.run.id,
                expected=what,
                found="changed in the meantime",
                by="",
            )


def write(
    connection: LedgerConnection, settings: Settings, view: RunView, intent: Intent, *, actor: str, reason: str
) -> Written:
    """Carry out an intent in the caller's transaction, which holds the run's lock.

    Raises:
        StateChanged: a row is not any more what the decision was made on; the caller's transaction must be rolled back.
    """
    pen = _Pen(connection=connection, settings=settings, view=view, actor=actor, reason=reason)
    for move in intent.moves:
        _write(pen, move)
    run = queries.find_run(connection, view.run.id)
    return Written(
        state=run.state if run is not None else view.run.state,
        steps=tuple(pen.steps),
        compensations=pen.compensations,
    )


def _write(pen: _Pen, move: Move) -> None:
    match move:
        case Hold() | Hasten() | Close() | Drop() | Settle() | MarkUndone():
            _end_row(pen, move)
        case Ready() | Reopen() | Clear() | Ask() | Start():
            _begin_row(pen, move)
        case MoveRun() | ResumeRun() | TurnRunBack() | SucceedRun() | WalkBack() | DecideReview():
            _move_run(pen, move)
        case _ as never:
            assert_never(never)


def _end_row(pen: _Pen, move: Hold | Hasten | Close | Drop | Settle | MarkUndone) -> None:
    connection = pen.connection
    match move:
        case Hold(key=key):
            pen.require(transitions.hold_step(connection, key, **pen.by), "a row that is due")
        case Hasten(key=key):
            transitions.hasten_retry(connection, key, **pen.by)
        case Close(row=row):
            pen.require(transitions.close_step(connection, row, **pen.by), f"{row.step} {row.state}")
        case Drop(row=row):
            pen.require(transitions.drop_compensation(connection, row.key, **pen.by), f"{row.step} {row.state}")
            transitions.free_key(connection, row.key)
        case Settle(row=row, output=output):
            held = _key_to_hold(pen, row)
            is_written = transitions.settle_step(connection, row, output=output, exclusive_key=held, **pen.by)
            pen.require(is_written, f"{row.step} {row.state}")
        case MarkUndone(row=row):
            # One that failed keeps its state, and its compensation's row tells; its key is free all the same.
            if not transitions.undo_step(connection, row.key, actor=pen.actor):
                transitions.free_key(connection, row.key)
        case _ as never:
            assert_never(never)


def _key_to_hold(pen: _Pen, row: StepRecord) -> str | None:
    """Return the key of its own that a step takes again which is said to be done; `None` when another run has it.

    A success that does not hold its key is another run's, which is never undone here.
    """
    contract = pen.view.plan.steps[row.position]
    if not contract.has_own_key or row.direction is not Direction.FORWARD:
        return None
    rows = (one for one in pen.view.steps if (one.position, one.direction) == (row.position, row.direction))
    first = min(rows, key=lambda one: one.round)
    key = f"{contract.task}:{first.idempotency_key}"
    return key if queries.find_key_holder(pen.connection, key) is None else None


def _begin_row(pen: _Pen, move: Ready | Reopen | Clear | Ask | Start) -> None:
    connection, task_id, resend = pen.connection, new_task_id(), pen.settings.resend_seconds
    match move:
        case Ready(key=key):
            is_written = transitions.ready_step(connection, key, resend_seconds=resend, task_id=task_id, **pen.by)
            pen.require(is_written, "a row that is held")
            row = pen.view.find(key)
            pen.send(key, task_id, attempt=row.attempt + 1 if row is not None else 1)
        case Reopen(row=row, state=state):
            is_written = transitions.reopen_step(
                connection, row, state=state, task_id=task_id, resend_seconds=resend, **pen.by
            )
            pen.require(is_written, f"{row.step} {row.state}")
            if state is StepState.READY:
                pen.send(row.key, task_id, attempt=row.attempt + 1)
        case Clear(row=row):
            is_written = transitions.clear_doubt(
                connection,
                row.key,
                task_id=task_id,
                operator_state=pen.view.run.operator_state,
                resend_seconds=resend,
                **pen.by,
            )
            pen.require(is_written, f"{row.step} {row.state}")
            pen.send(row.key, task_id, attempt=row.attempt + 1)
        case Ask():
            _ask(pen, move)
        case Start():
            transitions.start_step(
                connection,
                move.key,
                step_name=move.step,
                start_order=move.start_order,
                idempotency_key=move.idempotency_key,
                task_id=task_id,
                resend_seconds=resend,
                **pen.by,
            )
            pen.send(move.key, task_id)
        case _ as never:
            assert_never(never)


def _ask(pen: _Pen, move: Ask) -> None:
    """Ask a question again; on the way back it waits for its turn, and its place is its undo's."""
    is_back, task_id = pen.view.is_rollback_open, new_task_id()
    earlier = pen.view.find(move.key)
    # Asked while the attempt may still run, it could say "not done" a moment before it is (R8).
    is_about_doubt = not is_back and move.key.direction is Direction.RECONCILE
    wait_until = pen.view.alive_until if is_about_doubt else None
    question = transitions.NewQuestion(
        key=move.key,
        step=move.row.step,
        state=StepState.PENDING if is_back else StepState.READY if wait_until is None else StepState.WAITING,
        wait_until=wait_until,
        start_order=earlier.start_order if earlier is not None else move.row.start_order,
        idempotency_key=move.row.idempotency_key,
        task_id=task_id,
        reason=pen.reason,
    )
    transitions.ask_question(pen.connection, question, resend_seconds=pen.settings.resend_seconds, actor=pen.actor)
    if not is_back and wait_until is None:
        pen.send(move.key, task_id)


def _move_run(pen: _Pen, move: MoveRun | ResumeRun | TurnRunBack | SucceedRun | WalkBack | DecideReview) -> None:
    connection, run = pen.connection, pen.view.run
    match move:
        case MoveRun(arrow=arrow, operator_state=operator_state):
            walk: Callable[..., bool] = getattr(transitions, arrow)
            is_written = walk(connection, run.id, seen=run.state, operator_state=operator_state, **pen.by)
            pen.require(is_written, f"a run that is {run.state}")
        case ResumeRun():
            is_written = transitions.resume_run(
                connection,
                run.id,
                seen=run.state,
                operator_state=move.operator_state,
                round_number=move.round_number,
                last_successful_step=move.last_successful_step,
                is_error_over=move.is_error_over,
                **pen.by,
            )
            pen.require(is_written, f"a run that is {run.state}")
        case TurnRunBack():
            _turn_back(pen, move)
        case SucceedRun(operator_state=operator_state, output=output):
            closed = transitions.succeed_run(connection, run.id, operator_state=operator_state, output=output, **pen.by)
            pen.require(closed, "a run without steps that are left")
        case WalkBack():
            walked = walk_back(
                connection,
                pen.view.plan,
                run.id,
                left=run.rollback_to,
                resend_seconds=pen.settings.resend_seconds,
                links=pen.settings.chain_links,
                actor=pen.actor,
                reason=pen.reason,
            )
            pen.compensations = walked.messages
        case DecideReview(review_id=review_id, decision=decision):
            review = pen.view.review(review_id)
            is_written = review is not None and transitions.resolve_review(
                connection, review, decision=decision, **pen.by
            )
            pen.require(is_written, f"review {review_id} open")
        case _ as never:
            assert_never(never)


def _turn_back(pen: _Pen, move: TurnRunBack) -> None:
    connection, run, resend = pen.connection, pen.view.run, pen.settings.resend_seconds
    is_written = transitions.turn_run_back(
        connection,
        run.id,
        seen=run.state,
        operator_state=move.operator_state,
        compensations=tuple(line.contract.name for line in move.plan.compensations),
        rollback_to=move.to_position,
        **pen.by,
    )
    pen.require(is_written, f"a run that is {run.state}")
    # Read again: the rows that were closed a moment ago are planned as they are now.
    steps = queries.list_steps(connection, run.id)
    rows = rows_of_way_back(move.plan, steps, run.id, pen.view.alive_until)
    record_way_back(connection, rows, resend_seconds=resend, actor=pen.actor)
    if all(row.state.is_finished for row in rows):
        finish_way_back(connection, pen.view.plan, run.id, left=move.to_position, **pen.by)
    elif pen.view.alive_until is None:
        links = pen.settings.chain_links
        pen.compensations = remaining_chain(connection, pen.view.plan, run.id, links, parent_id=None)

"""The row that comes after a forward step: born ready for a message, or claimed already by whoever ended the step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy import null

from backout.events import Event
from backout.identifiers import ClaimToken, TaskId
from backout.ledger.change import ACTIVE, ByRun, NewRow, When
from backout.ledger.dialects import after, now
from backout.ledger.models import entry, run, step
from backout.ledger.records import Claim, RunFacts, StepKey
from backout.ledger.transitions.parts import bind, seconds, step_entry
from backout.states import Direction, RunState, StepState


@dataclass(frozen=True, slots=True, kw_only=True)
class NextClaim:
    """Who claims the next row in the commit that makes it, and so needs no message for it.

    Attributes:
        lease_seconds: how long the claim holds without a heartbeat.
        worker: who claims, for the entry.
        process: by what others can tell whether the claimer still lives; `None`: nobody can.
        detail: of the entry.
    """

    token: ClaimToken
    lease_seconds: float
    worker: str
    process: str | None
    detail: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class NextStep:
    """The row that follows when a forward step is recorded: the next step, or the question about this one.

    Attributes:
        claim: `None`: it becomes ready, and a message is sent for it.
    """

    name: str
    position: int
    direction: Direction
    idempotency_key: str
    task_id: TaskId
    claim: NextClaim | None = None


FACTS_OF_NEXT: Final = (run.c.state, run.c.external_ids, run.c.last_successful_step, run.c.deadline_at)
"""What a claim on the next row must know of the run, as the end of this one has left it."""


_READY: Final[Mapping[str, Any]] = {
    "state": StepState.READY.value,
    "attempt": 0,
    "sends": 1,
    "sweep_at": after(seconds("resend")),
    "dispatched_at": now(),
}
_CLAIMED: Final[Mapping[str, Any]] = {
    "state": StepState.RUNNING.value,
    "attempt": 1,
    "claim_token": bind(step.c.claim_token, "next_claim_token"),
    "claim_expires_at": after(seconds("lease")),
    "claimed_by": bind(step.c.claimed_by),
    "sends": 0,
    "sweep_at": after(seconds("lease")),
    "started_at": now(),
}


def ready_rows() -> tuple[NewRow, ...]:
    """Return the row that is born ready, its message going out right after the commit, and its entry."""
    return _row(_READY), _entry(Event.STEP_READY, attempt=null())


def claimed_rows() -> tuple[NewRow, ...]:
    """Return the row that is born claimed, and the entry of its claim: it was never ready.

    Only where the run may go on: its UPDATE, in the same statement, waits for a person who is just stopping it, and
    says what they have left (R13). Otherwise the row is born ready, and rests.
    """
    values = {name: ByRun(active=_CLAIMED.get(name), stopped=_READY.get(name)) for name in {**_CLAIMED, **_READY}}
    told = _entry(
        ByRun(active=Event.ATTEMPT_STARTED.value, stopped=Event.STEP_READY.value),
        when=When.RUN_CHANGED,
        actor=ByRun(active=bind(entry.c.actor, "worker"), stopped=bind(entry.c.actor)),
        detail=ByRun(active=bind(entry.c.detail, "claim_detail"), stopped=null()),
        attempt=ByRun(active=1, stopped=null()),
    )
    return _row(values, when=When.RUN_CHANGED), told


def _row(values: Mapping[str, Any], *, when: When = When.MATCHED) -> NewRow:
    return NewRow(
        table=step,
        values={
            "run_id": bind(step.c.run_id),
            "round": bind(step.c.round),
            "position": bind(step.c.position, "next_position"),
            "direction": bind(step.c.direction, "next_direction"),
            "step": bind(step.c.step, "next_step"),
            "lost_attempts": 0,
            "external_ids": {},
            "start_order": bind(step.c.start_order, "next_start_order"),
            "idempotency_key": bind(step.c.idempotency_key, "next_idempotency_key"),
            "task_id": bind(step.c.task_id, "next_task_id"),
            **values,
        },
        when=when,
    )


def _entry(event: Event | ByRun, *, when: When = When.MATCHED, **values: Any) -> NewRow:
    return step_entry(
        event,
        when=when,
        **{
            "run_id": bind(step.c.run_id),
            "round": bind(step.c.round),
            "position": bind(step.c.position, "next_position"),
            "direction": bind(step.c.direction, "next_direction"),
            "step": bind(step.c.step, "next_step"),
            **values,
        },
    )


def following_parameters(following: NextStep, start_order: int, resend_seconds: float) -> dict[str, Any]:
    """Return the parameters of `ready_rows` or `claimed_rows`, after a step with this start order."""
    claim = following.claim
    parameters: dict[str, Any] = {
        "b_next_position": following.position,
        "b_next_direction": following.direction.value,
        "b_next_step": following.name,
        # A question stands where its step stands.
        "b_next_start_order": start_order + (following.direction is Direction.FORWARD),
        "b_next_idempotency_key": following.idempotency_key,
        "b_next_task_id": following.task_id,
        "b_resend": resend_seconds,
    }
    if claim is not None:
        parameters |= {
            "b_next_claim_token": claim.token,
            "b_lease": claim.lease_seconds,
            "b_worker": claim.worker,
            "b_claimed_by": claim.process,
            "b_claim_detail": dict(claim.detail),
        }
    return parameters


def claim_of_next(ended: Claim, following: NextStep, row: Mapping[str, Any]) -> Claim | None:
    """Return the claim on the row that was born claimed; `None` where it is ready only.

    Args:
        ended: the claim of the step that has ended.
        following: the next row, as it was asked for.
        row: `FACTS_OF_NEXT`, as `run_<name>`.
    """
    if following.claim is None or row["run_state"] not in ACTIVE:
        return None
    return Claim(
        key=StepKey(
            run_id=ended.key.run_id,
            round=ended.key.round,
            position=following.position,
            direction=following.direction,
        ),
        step=following.name,
        token=following.claim.token,
        attempt=1,
        lost_attempts=0,
        start_order=ended.start_order + 1,
        idempotency_key=following.idempotency_key,
        task_id=following.task_id,
        external_ids={},
        run=facts_after(ended.run, row),
    )


def facts_after(known: RunFacts, row: Mapping[str, Any]) -> RunFacts:
    """Return what is known of a run, with `FACTS_OF_NEXT` as the end of a row has left them, as `run_<name>`."""
    return replace(
        known,
        state=RunState(row["run_state"]),
        external_ids=row["run_external_ids"],
        last_successful_step=row["run_last_successful_step"],
        deadline_at=row["run_deadline_at"],
    )

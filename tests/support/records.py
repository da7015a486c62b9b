"""Step rows as queries return them, made without a database: for the pure functions that decide about them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from backout.identifiers import RunId, TaskId
from backout.ledger.records import StepRecord
from backout.states import Direction, StepState

RUN: Final = RunId("0198c0de-0000-7000-8000-000000000001")
AN_INSTANT: Final = datetime(2026, 1, 1, tzinfo=UTC)


def step_record(step: str, position: int, state: StepState, **values: Any) -> StepRecord:
    """Return a row: the first round's forward attempt, started in the order of its position."""
    defaults: dict[str, Any] = {
        "run_id": RUN,
        "round": 1,
        "direction": Direction.FORWARD,
        "attempt": 1,
        "lost_attempts": 0,
        "start_order": position + 1,
        "idempotency_key": f"{RUN}:{step}",
        "claim_token": None,
        "claim_expires_at": None,
        "task_id": TaskId(RUN),
        "output": None,
        "external_ids": {},
        "error": {"type": "builtins.OSError", "message": "broken"} if state is StepState.FAILED else None,
        "next_retry_at": None,
        "sends": 0,
        "sweep_at": None,
        "dispatched_at": AN_INSTANT,
        "started_at": AN_INSTANT,
        "finished_at": AN_INSTANT if state.is_finished else None,
    }
    return StepRecord(step=step, position=position, state=state, **{**defaults, **values})

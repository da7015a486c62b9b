"""Rows of the ledger as tests need them: made by the arrows, or written directly in a state the constraints allow."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest
from sqlalchemy import Connection, delete, insert, update

from backout.identifiers import ClaimToken, RunId, TaskId, new_claim_token, new_run_id, new_task_id
from backout.ledger import queries, transitions
from backout.ledger.models import metadata, run, step
from backout.ledger.records import Claim, RunFacts, RunRecord, StepKey, StepRecord
from backout.ledger.session import Ledger
from backout.ledger.transitions import NewRun, NextStep, Onward
from backout.states import FINAL_RUN_STATES, Direction, RollbackOutcome, RunState, StepState

DATABASES: Final = ("postgresql", "sqlite", "mariadb")
"""Tests on MariaDB are not collected where there is none; see `tests/conftest.py`."""
ENGINE_DATABASES: Final = DATABASES[:2]
"""For the tests with real workers, which take long: what depends on the database has a test on all of them."""
on_postgresql: Final = pytest.mark.parametrize("ledger", ["postgresql"], indirect=True)
on_mariadb: Final = pytest.mark.parametrize("ledger", ["mariadb"], indirect=True)
on_servers: Final = pytest.mark.parametrize("ledger", ["postgresql", "mariadb"], indirect=True)
on_each_stack: Final = pytest.mark.parametrize("stack", DATABASES, indirect=True)
on_postgres_stack: Final = pytest.mark.parametrize("stack", ["postgresql"], indirect=True)
on_sqlite_stack: Final = pytest.mark.parametrize("stack", ["sqlite"], indirect=True)
on_sqlite: Final = pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)

RESEND_SECONDS: Final = 60.0
LEASE_SECONDS: Final = 60.0
LONG_AGO: Final = datetime(2020, 1, 1, tzinfo=UTC)
LATER: Final = datetime.now(UTC) + timedelta(hours=1)


def describe_run(**overrides: Any) -> NewRun:
    """Return a run that is not yet stored; its first step is called `reserve`."""
    run_id = overrides.pop("id", None) or new_run_id()
    values: dict[str, Any] = {
        "id": run_id,
        "pipeline": "fulfil_order",
        "definition_digest": "0" * 32,
        "plan": {"format": 1, "pipeline": "fulfil_order", "steps": []},
        "source_event_id": None,
        "subject_id": None,
        "operator_state": "reserve_pending",
        "input": {"id": "order-1"},
        "first_step": "reserve",
        "idempotency_key": f"{run_id}:reserve",
        "task_id": TaskId(run_id),
        "actor": "tests",
    }
    return NewRun(**{**values, **overrides})


def create_run(ledger: Ledger, **overrides: Any) -> RunId:
    """Enqueue a run through its arrow."""
    new = describe_run(**overrides)
    with ledger.transaction() as connection:
        assert transitions.create_run(connection, new, resend_seconds=RESEND_SECONDS)
    return new.id


def key_of(
    run_id: RunId, position: int = 0, direction: Direction = Direction.FORWARD, *, round_number: int = 1
) -> StepKey:
    """Return the name of a step row."""
    return StepKey(run_id=run_id, round=round_number, position=position, direction=direction)


def try_claim(
    ledger: Ledger,
    key: StepKey,
    *,
    attempt: int = 1,
    token: ClaimToken | None = None,
    own_key: str | None = None,
    exclusive_key: str | None = None,
    lease_seconds: float = LEASE_SECONDS,
) -> Claim | None:
    """Claim a step row through its arrow; `None` when it is not due."""
    with ledger.change() as connection:
        return transitions.claim_step(
            connection,
            key,
            token=token or new_claim_token(),
            lease_seconds=lease_seconds,
            worker="worker-1",
            attempt=attempt,
            own_key=own_key,
            exclusive_key=exclusive_key,
        )


def claim(
    ledger: Ledger, key: StepKey, *, attempt: int = 1, own_key: str | None = None, exclusive_key: str | None = None
) -> Claim:
    """Claim a step row that is due."""
    claimed = try_claim(ledger, key, attempt=attempt, own_key=own_key, exclusive_key=exclusive_key)
    assert claimed is not None
    return claimed


def start_run(ledger: Ledger, **overrides: Any) -> Claim:
    """Enqueue a run and claim its first step."""
    return claim(ledger, key_of(create_run(ledger, **overrides)))


def succeed(ledger: Ledger, claimed: Claim, *, output: Any = None, next_name: str | None = None) -> bool:
    """Record the success of a forward attempt; with a name, the next step becomes ready."""
    with ledger.change() as connection:
        gone_on = transitions.succeed_step(
            connection,
            claimed,
            output=output,
            onward=describe_onward(claimed, next_name),
        )
    return gone_on is not None


def describe_onward(claimed: Claim, next_name: str | None) -> Onward:
    """Return what comes after the claimed step: a step of this name, or the end of the run."""
    return Onward(
        following=describe_next(claimed, next_name) if next_name else None,
        operator_state=f"{claimed.step}_done",
        resend_seconds=RESEND_SECONDS,
    )


def describe_next(claimed: Claim, name: str) -> NextStep:
    """Return the step that follows the claimed one."""
    return NextStep(
        name=name,
        position=claimed.key.position + 1,
        direction=Direction.FORWARD,
        idempotency_key=f"{claimed.key.run_id}:{name}",
        task_id=new_task_id(),
    )


def retry_later(
    ledger: Ledger, claimed: Claim, *, delay_seconds: float, resend_seconds: float | None = RESEND_SECONDS
) -> bool:
    """Record a failed attempt and when the next one is due."""
    with ledger.change() as connection:
        return transitions.schedule_retry(
            connection,
            claimed,
            error={"type": "builtins.ConnectionError", "message": "refused"},
            reason="ConnectionError: refused",
            delay_seconds=delay_seconds,
            resend_seconds=resend_seconds,
        )


def release(ledger: Ledger, claimed: Claim) -> bool:
    """Give a claim back without an outcome."""
    with ledger.change() as connection:
        return transitions.release_claim(connection, claimed.key, token=claimed.token, reason="the claim expired")


def doubt(ledger: Ledger, claimed: Claim) -> bool:
    """End an attempt whose effect may exist."""
    with ledger.transaction() as connection:
        return transitions.doubt_step(
            connection,
            claimed.key,
            token=claimed.token,
            reason="the claim expired",
            operator_state="in_doubt",
        )


def read_run(ledger: Ledger, run_id: RunId) -> RunRecord:
    """Return a run that exists."""
    found = ledger.read(lambda connection: queries.find_run(connection, run_id))
    assert found is not None
    return found


def read_step(ledger: Ledger, key: StepKey) -> StepRecord:
    """Return a step row that exists."""
    found = ledger.read(lambda connection: queries.find_step(connection, key))
    assert found is not None
    return found


def read_events(ledger: Ledger, run_id: RunId) -> list[str]:
    """Return what happened to a run, in order."""
    return [entry.event.value for entry in ledger.read(lambda connection: queries.list_entries(connection, run_id))]


def set_run(ledger: Ledger, run_id: RunId, **values: Any) -> None:
    """Change a run's columns directly, as moving the clock would."""
    with ledger.transaction() as connection:
        assert connection.execute(update(run).where(run.c.id == run_id).values(**values)).rowcount == 1


def set_step(ledger: Ledger, key: StepKey, **values: Any) -> None:
    """Change a step row's columns directly, as moving the clock would."""
    changed = update(step).where(
        step.c.run_id == key.run_id,
        step.c.round == key.round,
        step.c.position == key.position,
        step.c.direction == key.direction.value,
    )
    with ledger.transaction() as connection:
        assert connection.execute(changed.values(**values)).rowcount == 1


def put_run(connection: Connection, *, state: RunState, **overrides: Any) -> RunId:
    """Write a run row in any state that a run can be in."""
    run_id = overrides.pop("id", None) or new_run_id()
    values: dict[str, Any] = {
        "id": run_id,
        "pipeline": "fulfil_order",
        "definition_digest": "0" * 32,
        "plan": {},
        "state": state.value,
        "operator_state": "as written",
        "external_ids": {},
        "requires_human_review": state is RunState.IN_REVIEW,
        "rollback_outcome": RollbackOutcome.NONE.value,
        "input": {"id": "order-1"},
        "created_at": LONG_AGO,
        "updated_at": LONG_AGO,
        "finished_at": LONG_AGO if state in FINAL_RUN_STATES else None,
    }
    connection.execute(insert(run).values({**values, **overrides}))
    return RunId(run_id)


def put_step(connection: Connection, key: StepKey, *, state: StepState, **overrides: Any) -> None:
    """Write a step row in any state that a step of its direction can be in."""
    values = step_values(key, state)
    connection.execute(insert(step).values({**values, **overrides}))


def step_values(key: StepKey, state: StepState) -> dict[str, Any]:
    """Return the columns of a row as the arrows that lead to this state would have left them."""
    fresh = state in (StepState.PENDING, StepState.READY, StepState.WAITING, StepState.KEPT)
    running = state is StepState.RUNNING
    due = running or state in (StepState.READY, StepState.RETRY_SCHEDULED)
    return {
        "run_id": key.run_id,
        "round": key.round,
        "position": key.position,
        "direction": key.direction.value,
        "step": f"step_{key.position}",
        "state": state.value,
        "attempt": 0 if fresh else 2,
        "lost_attempts": 0,
        "start_order": key.position + 1,
        "idempotency_key": f"{key.run_id}:step_{key.position}",
        "claim_token": None if fresh else token_of(key),
        "claim_expires_at": LATER if running else None,
        "task_id": new_task_id(),
        "external_ids": {} if fresh else {"charge": "ch-1"},
        "error": None if fresh else {"type": "builtins.OSError", "message": "the attempt before"},
        "next_retry_at": LONG_AGO if state is StepState.RETRY_SCHEDULED else None,
        "sends": 0,
        "sweep_at": LONG_AGO if state is StepState.WAITING else LATER if due else None,
        "dispatched_at": None if state is StepState.PENDING else LONG_AGO,
        "started_at": None if fresh else LONG_AGO,
        "finished_at": LONG_AGO if state.is_finished else None,
    }


def token_of(key: StepKey) -> ClaimToken:
    """Return the token under which `put_step` lets a row run: made from its key, so that tests need not carry it."""
    kind = {
        Direction.FORWARD: "f0",
        Direction.COMPENSATION: "c0",
        Direction.RECONCILE: "e0",
        Direction.VERIFY: "d0",
    }[key.direction]
    return ClaimToken(f"{key.run_id[:-4]}{key.position:02d}{kind}")


def claim_of(key: StepKey) -> Claim:
    """Return the claim of a row that `put_step` wrote, as its holder would have it."""
    return Claim(
        key=key,
        step=f"step_{key.position}",
        token=token_of(key),
        attempt=2,
        lost_attempts=0,
        start_order=key.position + 1,
        idempotency_key=f"{key.run_id}:step_{key.position}",
        task_id=new_task_id(),
        external_ids={},
        run=RunFacts(
            pipeline="fulfil_order",
            definition_digest="0" * 32,
            subject_id=None,
            input=None,
            external_ids={},
            last_successful_step=None,
        ),
    )


def stale(claimed: Claim) -> Claim:
    """Return a claim on the same row under a token that is not its own."""
    fields: Mapping[str, Any] = {name: getattr(claimed, name) for name in Claim.__dataclass_fields__}
    return Claim(**{**fields, "token": new_claim_token()})


def empty_tables(ledger: Ledger) -> None:
    """Remove all rows."""
    with ledger.transaction() as connection:
        for table in metadata.sorted_tables:
            connection.execute(delete(table))

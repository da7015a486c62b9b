"""How PostgreSQL reads a large ledger: lists, the path of a step, the sweeper and a purge stay on indexes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from psycopg import Cursor, RawCursor
from sqlalchemy import Connection, text

from backout.identifiers import RunId, first_run_id_at, new_claim_token
from backout.ledger import due, following, queries, reading, retention, schema, statistics, strays, transitions, undoing
from backout.ledger.archived import read_whole_runs
from backout.ledger.partitioning import partition_entries
from backout.ledger.records import StepKey
from backout.ledger.session import Ledger
from backout.states import Direction, RunState, StepState
from backout.testing.servers.postgres import Postgres
from tests.support.ledgers import (
    LONG_AGO,
    claim_of,
    describe_onward,
    key_of,
    put_run,
    put_step,
)

RUNS = 20_000
MOST_ROWS = 600
"""That any one part of a plan may read: more than a page, and far less than a table."""
LAST = datetime(2026, 3, 1, tzinfo=UTC)
HALF = first_run_id_at(LAST - timedelta(minutes=RUNS / 2))
ONE = RunId(f"{first_run_id_at(LAST - timedelta(minutes=RUNS - 77))[:14]}7000-8000-{77:012x}")
"""The 77th run."""

FILL_RUNS = """
INSERT INTO backout_run (id, pipeline, definition_digest, plan, source_event_id, subject_id, state, operator_state,
    external_ids, requires_human_review, rollback_outcome, input, created_at, updated_at, finished_at)
SELECT (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '70008' || lpad(to_hex(n), 15, '0'))::uuid,
    pipeline, '0', json_build_object('steps', repeat('a step with its contract ', 30)), 'form-' || n,
    'customer-' || n % 1000, state, 'done',
    CASE WHEN n % 2 = 0 THEN jsonb_build_object('charge', 'ch_' || n) ELSE '{}' END, state = 'in_review', 'none', '{}',
    at, at, CASE WHEN state IN ('succeeded', 'failed') THEN at END
FROM (
    SELECT n, TIMESTAMPTZ '2026-03-01 00:00Z' - make_interval(secs => (:runs - n) * 60) AS at,
        CASE WHEN n % 50 = 7 AND n < :runs / 4 THEN 'rare' ELSE 'usual' END AS pipeline,
        CASE WHEN n % 2000 = 3 AND n < :runs / 2 THEN 'in_review' WHEN n % 100 = 1 THEN 'failed' ELSE 'succeeded' END
            AS state
    FROM generate_series(1, :runs) AS n
) AS made
"""
"""One run a minute. The few of the pipeline `rare` are old, as are the few that wait for a person: in the order of
time they come last."""
FILL_REVIEWS = """
INSERT INTO backout_review (run_id, round, reason, evidence, opened_at, decision, decided_at)
SELECT id, 1, 'may_have_duplicated', json_build_object('what', repeat('evidence ', 20)), created_at,
    CASE WHEN state <> 'in_review' THEN 'done' END, CASE WHEN state <> 'in_review' THEN created_at END
FROM backout_run
"""
FILL_ENTRIES = """
INSERT INTO backout_entry (at, run_id, round, position, step, direction, attempt, event, actor)
SELECT created_at, id, 1, 0, 'charge', 'forward', 1, event, 'worker'
FROM backout_run, unnest(ARRAY['attempt_started', 'step_succeeded']) AS event
"""
FILL_STEPS = """
INSERT INTO backout_step (run_id, round, position, direction, step, state, attempt, lost_attempts, start_order,
    idempotency_key, exclusive_key, task_id, external_ids, sends, claim_token, started_at, finished_at)
SELECT id, 1, position, 'forward', 'step_' || position, 'succeeded', 1, 0, position + 1, id || ':' || position,
    CASE WHEN position = 0 THEN id::text END, id, '{}', 0, id, created_at, created_at
FROM backout_run, generate_series(0, 2) AS position
"""

LISTS: dict[str, dict[str, Any]] = {
    "no filter": {},
    "older ones": {"before": HALF},
    "a rare pipeline": {"pipeline": "rare"},
    "a pipeline that there is not": {"pipeline": "nothing"},
    "a pipeline and a state that it never had": {"pipeline": "rare", "states": [RunState.FAILED, RunState.PARKED]},
    "a pipeline and a state of few": {"pipeline": "usual", "states": [RunState.IN_REVIEW], "before": HALF},
    "a state of few": {"states": [RunState.IN_REVIEW]},
    "a state of nobody": {"states": [RunState.CANCELLED]},
    "several states": {"states": [RunState.IN_REVIEW, RunState.PARKED]},
    "the need of a person": {"needs_person": True},
    "the need of a person in a pipeline": {"needs_person": True, "pipeline": "rare"},
    "the day of enqueue": {"enqueued_since": LAST - timedelta(hours=2)},
    "the day of enqueue and a rare pipeline": {"enqueued_since": LAST - timedelta(hours=2), "pipeline": "rare"},
    "a change among open runs": {"changed_since": LAST, "states": [RunState.IN_REVIEW, RunState.RUNNING]},
    "a source event": {"text": "form-77"},
    "a subject": {"text": "customer-77"},
    "a subject in a pipeline and a state": {"text": "customer-77", "pipeline": "usual", "states": [RunState.FAILED]},
    "an external id": {"text": "ch_78"},
    "a text that is nowhere": {"text": "nowhere"},
    "a run id": {"text": HALF},
}


@pytest.fixture(scope="module", params=["one table", "partitions"])
def large(request: pytest.FixtureRequest, postgres: Postgres) -> Iterator[Ledger]:
    """A ledger of 20,000 runs, of which the database knows how they are distributed; with its entries in both forms."""
    ledger = Ledger(postgres.create_database("backout_plans"))
    schema.upgrade(ledger)
    with ledger.change() as connection:
        for statement in (FILL_RUNS, FILL_REVIEWS, FILL_ENTRIES, FILL_STEPS, "VACUUM ANALYZE"):
            connection.execute(text(statement), {"runs": RUNS} if ":runs" in statement else {})
        if request.param == "partitions":
            partition_entries(ledger)
            connection.execute(text("VACUUM ANALYZE"))
    yield ledger
    ledger.dispose()
    postgres.drop_database("backout_plans")


Asked = list[tuple[type[Any], str, Any]]
"""Statements that went to the database: the kind of cursor, the text, the parameters."""


def note_statements(connection: Connection, work: Callable[[Connection], Any]) -> Asked:
    """Return all that some work asks the database: the path of a step does not go through SQLAlchemy's events."""
    asked: Asked = []
    execute = {kind: kind.execute for kind in (Cursor, RawCursor)}

    def remember(self: Any, query: Any, params: Any = None, **options: Any) -> Any:
        kind = RawCursor if isinstance(self, RawCursor) else Cursor
        asked.append((kind, query.decode() if isinstance(query, bytes) else query, params))
        return execute[kind](self, query, params, **options)

    with pytest.MonkeyPatch.context() as patching:
        for kind in execute:
            patching.setattr(kind, "execute", remember)
        work(connection)
    return asked


def explain(connection: Connection, asked: Asked) -> list[dict[str, Any]]:
    """Return the parts of the plans of statements, from the outside in; they are carried out once more."""
    driver: Any = connection.connection.driver_connection
    found = [
        kind(driver).execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", parameters).fetchone()[0]
        for kind, statement, parameters in asked
    ]
    return [part for (plan,) in found for part in list_parts(plan["Plan"])]


def read_plans(ledger: Ledger, read: Callable[[Connection], Any]) -> list[dict[str, Any]]:
    """Return the parts of the plans of all that a function asks the database, from the outside in."""
    return ledger.read(lambda connection: explain(connection, note_statements(connection, read)))


class _TakenBack(Exception):
    pass


def check_writes(ledger: Ledger, write: Callable[[Connection], Any]) -> None:
    """Fail as `check_plans` where something is changed. It is carried out twice, and taken back."""
    found: list[dict[str, Any]] = []
    asked: Asked = []
    with suppress(_TakenBack), ledger.transaction() as connection:
        with suppress(_TakenBack), connection.begin_nested():
            asked = note_statements(connection, write)
            raise _TakenBack
        found = explain(connection, asked)
        raise _TakenBack
    check_parts(found)


def list_parts(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan, *(part for inner in plan.get("Plans", []) for part in list_parts(inner))]


def check_plans(ledger: Ledger, read: Callable[[Connection], Any]) -> None:
    """Fail where a table is read from end to end, or many rows are read to find those that are wanted."""
    check_parts(read_plans(ledger, read))


def check_parts(parts: list[dict[str, Any]]) -> None:
    # A partition of a month to come is empty, and reading that is no scan.
    assert [part["Relation Name"] for part in parts if part["Node Type"] == "Seq Scan" and count_rows(part)] == []
    scans = [part for part in parts if "Scan" in part["Node Type"]]
    assert [part for part in scans if count_rows(part) > MOST_ROWS] == []
    assert scans


def count_rows(scan: dict[str, Any]) -> float:
    """Return how many rows a part of a plan has read, wanted or not."""
    unwanted = sum(value for name, value in scan.items() if name.startswith("Rows Removed by"))
    return float(scan["Actual Rows"] + unwanted) * float(scan["Actual Loops"])


@pytest.mark.parametrize("filters", LISTS.values(), ids=LISTS.keys())
def test_list_of_runs_stays_on_an_index(large: Ledger, filters: dict[str, Any]) -> None:
    """Nothing is looked for from the newest run on, through all of them."""
    check_plans(large, lambda connection: queries.list_runs(connection, **filters))


def test_counts_of_the_list_are_bounded_and_on_an_index(large: Ledger) -> None:
    """Of all runs and of a pipeline's; exact up to the bound, and one more where there are more."""
    for pipeline in (None, "rare"):
        check_plans(large, lambda connection: queries.count_by_state(connection, pipeline, at_most=500))  # noqa: B023 - now
    assert large.read(lambda connection: queries.count_by_state(connection, at_most=500)) == {
        RunState.IN_REVIEW: 5,
        RunState.FAILED: 200,
        RunState.SUCCEEDED: 501,
    }


def test_statistics_are_on_indexes(large: Ledger) -> None:
    """Also of pipelines that have not run for long; of the steps of the newest runs only."""
    since = LAST - timedelta(hours=2)
    check_plans(large, lambda connection: statistics.list_pipelines(connection, limit=10))
    check_plans(large, lambda connection: statistics.count_cohort(connection, since=since, limit=100))
    check_plans(large, lambda connection: statistics.list_open_states(connection, "rare", count_to=100))
    check_plans(large, lambda connection: statistics.count_open_reviews(connection, now=LAST, limit=100))
    for name in ("usual", "rare"):
        check_plans(
            large,
            lambda connection: statistics.read_attempts(connection, name, since=since, most_runs=50),  # noqa: B023 - now
        )


def test_open_reviews_are_on_an_index(large: Ledger) -> None:
    """However many were decided."""
    check_plans(large, lambda connection: reading.list_open_reviews(connection, limit=51))
    check_plans(large, lambda connection: queries.list_reviews(connection, open_only=True))


def put_live_run(connection: Connection, state: StepState, direction: Direction = Direction.FORWARD) -> StepKey:
    """Write one run under way among all those that have ended."""
    run_state = RunState.ROLLING_BACK if direction is Direction.COMPENSATION else RunState.RUNNING
    key = key_of(put_run(connection, state=run_state), 1, direction)
    put_step(connection, key_of(key.run_id, 0), state=StepState.SUCCEEDED)
    put_step(connection, key, state=state, sweep_at=LONG_AGO)
    return key


WRITES: dict[str, Callable[[Connection], Any]] = {
    "claim": lambda connection: transitions.claim_step(
        connection,
        put_live_run(connection, StepState.READY),
        token=new_claim_token(),
        lease_seconds=60,
        worker="worker",
        attempt=1,
    ),
    "success": lambda connection: transitions.succeed_step(
        connection,
        claimed := claim_of(put_live_run(connection, StepState.RUNNING)),
        output=1,
        onward=describe_onward(claimed, "next"),
    ),
    "failure": lambda connection: transitions.fail_step(
        connection, claim_of(put_live_run(connection, StepState.RUNNING)), error={}, reason="no"
    ),
    "heartbeat": lambda connection: transitions.extend_claim(
        connection, claim_of(put_live_run(connection, StepState.RUNNING)), lease_seconds=60
    ),
    "external id": lambda connection: transitions.record_external_id(
        connection, claim_of(put_live_run(connection, StepState.RUNNING)), name="charge", value="ch-1"
    ),
}
"""What a worker writes, each on a run of its own."""


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES.keys())
def test_path_of_a_step_stays_on_an_index(large: Ledger, write: Callable[[Connection], Any]) -> None:
    """However many runs have ended before: each finds its rows by their keys."""

    def write_something(connection: Connection) -> None:
        assert write(connection)

    check_writes(large, write_something)


READS: dict[str, Callable[[Connection, RunId], Any]] = {
    "entries": queries.list_entries,
    "steps": queries.list_steps,
    "run": queries.find_run,
    "beginning of an id": lambda connection, run_id: queries.find_run_ids(connection, run_id[:12]),
    "output of a step": lambda connection, run_id: queries.find_output(connection, run_id, "step_1"),
    "next undo": lambda connection, run_id: undoing.next_undos(connection, run_id, limit=1),
    "what an undo must know": lambda connection, run_id: undoing.find_background(connection, key_of(run_id)),
    "holder of a key": queries.find_key_holder,
    "run of an event": lambda connection, _: queries.find_run_of_event(connection, "usual", "form-78"),
    "who may still run": due.alive_until,
    "what is new": lambda connection, _: following.list_entries_after(connection, RUNS, limit=100),
    "what was last": lambda connection, run_id: reading.list_last_entries(connection, run_id, limit=10),
    "whole runs": lambda connection, run_id: read_whole_runs(connection, [run_id]),
}


@pytest.mark.parametrize("read", READS.values(), ids=READS.keys())
def test_read_about_one_run_stays_on_an_index(large: Ledger, read: Callable[[Connection, RunId], Any]) -> None:
    """What is read in the middle of a run, and when a person looks at it."""
    check_plans(large, lambda connection: read(connection, ONE))


def test_look_of_the_sweeper_stays_on_an_index(large: Ledger) -> None:
    """It comes every few seconds, from each worker: what has ended is nothing to it."""

    def sweep(connection: Connection) -> None:
        put_live_run(connection, StepState.READY)
        put_live_run(connection, StepState.RETRY_SCHEDULED)
        assert len(due.take_due_steps(connection, limit=100)) == 2
        due.list_late_retries(connection, limit=100)
        due.list_stalled_runs(connection, quiet_seconds=60, limit=100)

    check_writes(large, sweep)


def test_batch_of_a_purge_stays_on_an_index(large: Ledger) -> None:
    """The first and one in the middle, of all runs and of a pipeline's, with all their rows."""
    for pipeline, after in ((None, retention.FIRST), (None, HALF), ("rare", retention.FIRST), ("nothing", HALF)):
        wanted = retention.Wanted(finished_before=LAST, pipeline=pipeline, forget_keys=True)

        def remove(connection: Connection) -> None:
            page, _ = retention.next_page(connection, wanted, RunState.SUCCEEDED, after, 50)  # noqa: B023 - now
            judged = retention.judge(connection, wanted, RunState.SUCCEEDED, page, is_locking=True)  # noqa: B023 - now
            assert len(judged.removable) == (0 if wanted.pipeline == "nothing" else 50)  # noqa: B023 - now
            retention.remove_rows(connection, judged.removable)

        check_writes(large, remove)


def test_search_for_strays_stays_on_an_index(large: Ledger) -> None:
    """Entries that name no run, and runs that are named and not there, a page at a time."""
    check_plans(large, lambda connection: strays.next_nameless(connection, 0, 100))
    check_plans(large, lambda connection: strays.next_named(connection, HALF, LAST, 100))

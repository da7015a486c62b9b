"""How PostgreSQL reads a large ledger: every list stays on an index, whatever it is narrowed by."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, event, text

from backout.identifiers import first_run_id_at
from backout.ledger import queries, reading, schema, statistics
from backout.ledger.session import Ledger
from backout.states import RunState
from backout.testing.servers.postgres import Postgres

RUNS = 20_000
MOST_ROWS = 600
"""That any one part of a plan may read: more than a page, and far less than a table."""
LAST = datetime(2026, 3, 1, tzinfo=UTC)
HALF = first_run_id_at(LAST - timedelta(minutes=RUNS / 2))

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


@pytest.fixture(scope="module")
def large(postgres: Postgres) -> Iterator[Ledger]:
    """A ledger of 20,000 runs, of which the database knows how they are distributed."""
    ledger = Ledger(postgres.create_database("backout_plans"))
    schema.upgrade(ledger)
    with ledger.change() as connection:
        for statement in (FILL_RUNS, FILL_REVIEWS, FILL_ENTRIES, "VACUUM ANALYZE"):
            connection.execute(text(statement), {"runs": RUNS} if ":runs" in statement else {})
    yield ledger
    ledger.dispose()
    postgres.drop_database("backout_plans")


def read_plans(ledger: Ledger, read: Callable[[Connection], Any]) -> list[dict[str, Any]]:
    """Return the parts of the plans of all that a function asks the database, from the outside in."""
    asked: list[tuple[str, Any]] = []

    def remember(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        asked.append((statement, parameters))

    def explain(connection: Connection) -> list[dict[str, Any]]:
        event.listen(connection, "before_cursor_execute", remember)
        read(connection)
        event.remove(connection, "before_cursor_execute", remember)
        found = [
            connection.exec_driver_sql(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", parameters).scalar_one()
            for statement, parameters in asked
        ]
        return [part for (plan,) in found for part in list_parts(plan["Plan"])]

    return ledger.read(explain)


def list_parts(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan, *(part for inner in plan.get("Plans", []) for part in list_parts(inner))]


def check_plans(ledger: Ledger, read: Callable[[Connection], Any]) -> None:
    """Fail where a table is read from end to end, or many rows are read to find those that are wanted."""
    parts = read_plans(ledger, read)
    assert [part["Relation Name"] for part in parts if part["Node Type"] == "Seq Scan"] == []
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

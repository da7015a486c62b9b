"""The pipeline with a ledger that is full already: fill it quickly, and time what people and the sweeper read."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from statistics import median
from typing import Any, Final

from sqlalchemy import Connection, create_engine, inspect, text

from backout.identifiers import RunId
from backout.ledger import queries
from backout.states import RunState
from backout.tasks.sweeper import sweep_once
from benchmarks.apps import store_url
from benchmarks.apps.pipeline import PIPELINE, app, prepare, runtime, start

__all__ = ["app", "count_entries_of_one", "count_finished", "fill", "prepare", "settle", "start", "time_reads"]

OLDEST_DAYS: Final = 90
SAMPLE_RUNS: Final = 50
TABLES: Final = {"backout_run": "id", "backout_step": "run_id", "backout_entry": "run_id"}
"""Each table that grows, with its column that names the run."""
NEW_RUNS: Final = f"""
    SELECT number, at, (
        lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0')
        || '7' || lpad(to_hex(number % 4096), 3, '0') || '8' || lpad(to_hex(number), 15, '0')
    )::uuid AS id
    FROM (
        SELECT number, now() - interval '{OLDEST_DAYS} days' + number * interval '10 milliseconds' AS at
        FROM generate_series(CAST(:first AS bigint), CAST(:last AS bigint)) AS number
    ) AS numbers
"""
"""Runs of the past, with ids that begin with their time as real ones do."""
NEW_VALUES: Final = {
    "task_id": "gen_random_uuid()",
    "claim_token": "gen_random_uuid()",
    "idempotency_key": "new.id::text || ':' || old.step",
}
FINISHED: Final = """
    SELECT count(*) FROM backout_run
    WHERE state = 'succeeded'
        AND id > (
            lpad(to_hex((extract(epoch FROM now() - interval '1 day') * 1000)::bigint), 12, '0')
            || '70008000000000000000'
        )::uuid
"""
_engine: Final = create_engine(store_url())


def count_entries_of_one() -> int:
    """Return how many entries the run has that is copied."""
    with _engine.connect() as connection:
        statement = text("SELECT count(*) FROM backout_entry WHERE run_id = :template")
        return int(connection.execute(statement, {"template": _find_template(connection)}).scalar_one())


def fill(runs_before: int, runs: int) -> None:
    """Copy a run so many times, with its steps and entries.

    Args:
        runs_before: how many copies there are already.
        runs: how many to make.
    """
    with _engine.begin() as connection:
        parameters = {"first": runs_before, "last": runs_before + runs - 1, "template": _find_template(connection)}
        for table, key in TABLES.items():
            connection.execute(text(_copy_rows(connection, table, key)), parameters)


def _find_template(connection: Connection) -> Any:
    # The newest by its id has really run; the copies are of the past.
    return connection.execute(text("SELECT id FROM backout_run ORDER BY id DESC LIMIT 1")).scalar_one()


def settle() -> None:
    """Let PostgreSQL know what it has, and write it, so that nobody else pays for that."""
    with _engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE"))
        connection.execute(text("CHECKPOINT"))


def count_finished() -> int:
    """Return how many real runs have succeeded; to count the copies as well would cost more than what is measured."""
    with _engine.connect() as connection:
        return int(connection.execute(text(FINISHED)).scalar_one())


def time_reads(repeats: int) -> dict[str, float]:
    """Return the median milliseconds of lists, of showing one run, and of a look of the sweeper that finds nothing."""
    sample = _sample_runs()
    reads: dict[str, Callable[[], Any]] = {
        "list_ms": lambda: runtime.ledger.read(queries.list_runs),
        "list_narrowed_ms": lambda: runtime.ledger.read(
            lambda connection: queries.list_runs(connection, pipeline=PIPELINE.name, states=[RunState.SUCCEEDED])
        ),
        "show_ms": lambda: _show(random.choice(sample)),
        "sweep_ms": lambda: sweep_once(runtime),
    }
    return {name: _median_ms(read, repeats) for name, read in reads.items()}


def _show(run_id: RunId) -> None:
    """Read all that `backout runs show` reads of a run."""

    def read(connection: Connection) -> None:
        queries.find_run(connection, run_id)
        queries.list_steps(connection, run_id)
        queries.list_entries(connection, run_id)

    runtime.ledger.read(read)


def _sample_runs() -> list[RunId]:
    """Return the ids of some runs from all over the ledger."""
    percent = text("SELECT id FROM backout_run TABLESAMPLE SYSTEM (5) LIMIT :limit")
    some = text("SELECT id FROM backout_run LIMIT :limit")
    with _engine.connect() as connection:
        found = [connection.execute(query, {"limit": SAMPLE_RUNS}).scalars().all() for query in (percent, some)]
    return [RunId(str(run_id)) for run_id in found[0] or found[1]]


def _median_ms(read: Callable[[], Any], repeats: int) -> float:
    read()
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        read()
        seconds.append(time.perf_counter() - started)
    return median(seconds) * 1000


def _copy_rows(connection: Connection, table: str, key: str) -> str:
    """Return the statement that copies a run's rows for each new run, with the columns that the table has now."""
    columns = [column["name"] for column in inspect(connection).get_columns(table)]
    values = []
    for column in list(columns):
        if table == "backout_entry" and column == "id":
            # The sequence's.
            columns.remove(column)
        elif column == key:
            values.append("new.id")
        elif column == "at" or column.endswith("ed_at"):
            values.append(f"new.at + (old.{column} - first.at)")
        else:
            values.append(NEW_VALUES.get(column, f"old.{column}"))
    return (
        f"WITH new AS ({NEW_RUNS}), first AS (SELECT created_at AS at FROM backout_run WHERE id = :template) "
        f"INSERT INTO {table} ({', '.join(columns)}) SELECT {', '.join(values)} "
        f"FROM new CROSS JOIN first CROSS JOIN {table} AS old WHERE old.{key} = :template ORDER BY new.number"
    )

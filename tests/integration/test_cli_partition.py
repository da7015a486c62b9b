"""`backout ledger partition` against a real PostgreSQL: what it shows, what it does, and where it refuses."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import text

from backout.ledger import schema
from backout.ledger.partitions import months_from, read_partitioning
from backout.ledger.session import Ledger
from tests.support.commands import call, read_json
from tests.support.old_runs import count_rows, put_old_run


@pytest.fixture
def ledger(postgres_url: str) -> Iterator[Ledger]:
    opened = Ledger(postgres_url)
    schema.upgrade(opened)
    yield opened
    opened.dispose()


def is_partitioned(ledger: Ledger) -> bool:
    found = read_partitioning(ledger)
    assert found is not None
    return found.is_partitioned


def test_it_shows_and_changes_nothing_unless_told(ledger: Ledger, postgres_url: str) -> None:
    """What would be made, and how to do it."""
    found = read_partitioning(ledger)
    assert found is not None
    result = call("ledger", "partition", "--months-ahead", "1", url=postgres_url)
    assert (result.exit_code, is_partitioned(ledger)) == (0, False)
    assert f"to be made: {months_from(found.now, 2)[1]:%Y-%m}" in result.stdout
    assert "--yes" in result.stdout
    call("ledger", "partition", "--yes", "--preview", url=postgres_url)
    assert not is_partitioned(ledger)


def test_it_partitions_once_and_then_keeps_months_ready(ledger: Ledger, postgres_url: str) -> None:
    """The same line each time, as cron has it; entries stay, and the ledger is as this release needs it."""
    put_old_run(ledger, 1)
    assert "✓ made:" in call("ledger", "partition", "--yes", url=postgres_url).stdout
    assert is_partitioned(ledger)
    assert count_rows(ledger)["entry"] == 2
    assert "Nothing had to be made" in call("ledger", "partition", "--yes", url=postgres_url).stdout
    assert "2 partitions" not in call("ledger", "partition", url=postgres_url).stdout
    more = read_json(call("ledger", "partition", "--months-ahead", "4", "--yes", "--json", url=postgres_url))
    assert (len(more["made"]), more["months"], more["is_partitioned"]) == (1, [], True)
    assert call("ledger", "verify", url=postgres_url).exit_code == 0


def test_json_tells_what_would_be_made(ledger: Ledger, postgres_url: str) -> None:
    """For whoever watches that there are partitions for months to come."""
    found = read_json(call("ledger", "partition", "--json", url=postgres_url))
    assert set(found) == {"is_preview", "is_partitioned", "obstacles", "made", "months", "partitions"}
    assert (found["is_preview"], found["is_partitioned"], len(found["months"])) == (True, False, 3)


def test_it_refuses_where_something_would_be_lost(ledger: Ledger, postgres_url: str) -> None:
    """It is named, and nothing is changed."""
    with ledger.transaction() as connection:
        connection.execute(text("CREATE VIEW shop_history AS SELECT * FROM backout_entry"))
    result = call("ledger", "partition", "--yes", url=postgres_url)
    assert (result.exit_code, "shop_history" in result.stdout, is_partitioned(ledger)) == (6, True, False)


def test_purge_tells_of_partitions_that_it_dropped(ledger: Ledger, postgres_url: str) -> None:
    """A month that is left without a run goes as a whole."""
    call("ledger", "partition", "--yes", url=postgres_url)
    with ledger.transaction() as connection:
        [first] = connection.execute(
            text("SELECT relname FROM pg_class WHERE relname LIKE 'backout_entry_before_%' AND relkind = 'r'")
        ).scalars()
        end = first.removeprefix("backout_entry_before_").replace("_", "-")
        for statement in (
            f"ALTER TABLE backout_entry DETACH PARTITION {first}",
            f"ALTER TABLE backout_entry ATTACH PARTITION {first} FOR VALUES FROM (MINVALUE) TO ('2020-02-01 00:00Z')",
            f"CREATE TABLE backout_entry_since PARTITION OF backout_entry FOR VALUES "
            f"FROM ('2020-02-01 00:00Z') TO ('{end}-01 00:00Z')",
        ):
            connection.execute(text(statement))
    put_old_run(ledger, 1)
    result = call("ledger", "purge", "--older-than", "90d", "--yes", url=postgres_url)
    assert "1 partition of entries dropped as a whole" in result.stdout
    assert "2 entries" in result.stdout
    assert count_rows(ledger)["entry"] == 0


def test_other_databases_are_told(sqlite_url: str) -> None:
    """No traceback, and what to do instead."""
    ledger = Ledger(sqlite_url)
    schema.upgrade(ledger)
    ledger.dispose()
    result = call("ledger", "partition", url=sqlite_url)
    assert (result.exit_code, "not on PostgreSQL" in result.stderr) == (2, True)

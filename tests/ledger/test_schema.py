"""The schema: made by migrations, equal to the models, and refused when it is not the one of this release."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from alembic import command
from alembic.migration import MigrationContext
from sqlalchemy import CheckConstraint, Connection, Inspector, create_engine, inspect, text
from sqlalchemy.exc import DBAPIError

from backout.errors import SchemaMismatch
from backout.ledger import schema
from backout.ledger.models import EXTERNAL_IDS_INDEX, metadata
from backout.ledger.session import Ledger
from backout.testing.servers.mariadb import MariaDB
from backout.testing.servers.postgres import Postgres
from tests.support.ledgers import create_run, read_run

TABLES = {"backout_run", "backout_step", "backout_entry", "backout_review"}


@pytest.fixture
def model_ledger(request: pytest.FixtureRequest, empty_url: str) -> Iterator[Ledger]:
    """A second database of the same kind, whose tables are made from the models and not by migrations."""
    if empty_url.startswith("sqlite"):
        yield from _made_from_models(empty_url.replace("ledger.sqlite3", "models.sqlite3"))
        return
    kind = "postgres" if empty_url.startswith("postgresql") else "mariadb"
    server: Postgres | MariaDB = request.getfixturevalue(kind)
    name = f"backout_models_{uuid.uuid4().hex}"
    yield from _made_from_models(server.create_database(name))
    server.drop_database(name)


def _made_from_models(url: str) -> Iterator[Ledger]:
    ledger = Ledger(url)
    with ledger.transaction() as connection:
        metadata.create_all(connection)
    yield ledger
    ledger.dispose()


def describe(ledger: Ledger) -> dict[str, Any]:
    """Return all that the database knows of our tables."""
    return ledger.read(lambda connection: {name: _describe_table(inspect(connection), name) for name in TABLES})


def _describe_table(inspector: Inspector, name: str) -> dict[str, Any]:
    columns = inspector.get_columns(name)
    return {
        "columns": {column["name"]: {key: str(value) for key, value in column.items()} for column in columns},
        "order": [column["name"] for column in columns],
        "primary key": inspector.get_pk_constraint(name),
        "checks": {check["name"]: check["sqltext"] for check in inspector.get_check_constraints(name)},
        "indexes": {index["name"]: _describe_index(index) for index in inspector.get_indexes(name)},
        "unique constraints": inspector.get_unique_constraints(name),
        "foreign keys": inspector.get_foreign_keys(name),
        "options": inspector.get_table_options(name),
    }


def _describe_index(index: Any) -> dict[str, str]:
    options = {name: str(value) for name, value in index.get("dialect_options", {}).items()}
    return {**{key: str(value) for key, value in index.items()}, "dialect_options": str(options)}


def read_functions(ledger: Ledger) -> list[str]:
    """Return the functions of the database that are ours, as PostgreSQL writes them."""
    if ledger.dialect.name != "postgresql":
        return []
    statement = text("SELECT pg_get_functiondef(oid) FROM pg_proc WHERE proname LIKE 'backout%' ORDER BY proname")
    return ledger.read(lambda connection: list(connection.execute(statement).scalars()))


class TestMigratedTables:
    def test_alembic_finds_no_difference_to_the_models(self, own_ledger: Ledger) -> None:
        """What the migrations make is what the code works with."""
        assert schema.differences(own_ledger) == []

    @pytest.mark.parametrize("table", sorted(TABLES))
    def test_each_table_is_the_one_of_the_models(self, own_ledger: Ledger, model_ledger: Ledger, table: str) -> None:
        """Columns, their order, keys, CHECKs and indexes are equal; Alembic's comparison does not see CHECKs."""
        assert describe(own_ledger)[table] == describe(model_ledger)[table]

    @pytest.mark.parametrize("table", sorted(TABLES))
    def test_each_named_thing_of_the_models_is_there(self, own_ledger: Ledger, table: str) -> None:
        """The comparison above is not one of nothing with nothing."""
        found = describe(own_ledger)[table]
        of_models = metadata.tables[table]
        left_out = set() if own_ledger.dialect.indexes_json_values else {EXTERNAL_IDS_INDEX}
        assert set(found["indexes"]) == {index.name for index in of_models.indexes} - left_out
        rules = {str(item.name) for item in of_models.constraints if isinstance(item, CheckConstraint)}
        of_function = {rule for rule in rules if rule.endswith("rules")}
        is_checked_by_it = own_ledger.dialect.name == "postgresql" and bool(of_function)
        assert len(found["checks"]) == len(of_function if is_checked_by_it else rules - of_function)
        assert found["order"] == [column.name for column in of_models.columns]

    def test_functions_that_check_are_those_of_the_models(self, own_ledger: Ledger, model_ledger: Ledger) -> None:
        """A rule that is added to a model is added to the function as well."""
        assert read_functions(own_ledger) == read_functions(model_ledger)
        assert len(read_functions(own_ledger)) == (2 if own_ledger.dialect.name == "postgresql" else 0)

    def test_a_difference_is_said_in_words(self, own_ledger: Ledger) -> None:
        """`differences` is no empty promise: it names what somebody changed by hand."""
        run_sql(own_ledger, "ALTER TABLE backout_run ADD COLUMN colour VARCHAR(10)")
        (difference,) = schema.differences(own_ledger)
        assert "colour" in difference

    def test_tables_of_the_application_are_no_difference(self, own_ledger: Ledger) -> None:
        """The ledger may live in the application's own database."""
        run_sql(own_ledger, "CREATE TABLE shop_order (id INTEGER PRIMARY KEY)")
        assert schema.differences(own_ledger) == []


class TestUpgrade:
    def test_it_says_what_it_did(self, empty_ledger: Ledger) -> None:
        """The operator sees the revisions before and after."""
        assert schema.upgrade(empty_ledger) == (None, schema.expected_revision())

    def test_a_second_one_changes_nothing(self, empty_ledger: Ledger) -> None:
        """It can be part of every deployment: what is recorded stays."""
        schema.upgrade(empty_ledger)
        run_id = create_run(empty_ledger)
        expected = schema.expected_revision()
        assert schema.upgrade(empty_ledger) == (expected, expected)
        assert read_run(empty_ledger, run_id).id == run_id

    def test_it_goes_as_far_as_it_is_told_and_never_back(self, empty_ledger: Ledger) -> None:
        """Whoever goes step by step gets each, and a ledger that is further on stays as it is."""
        assert schema.upgrade(empty_ledger, at_least="0001") == (None, "0001")
        assert schema.upgrade(empty_ledger, at_least="0002") == ("0001", "0002")
        assert schema.upgrade(empty_ledger, at_least="0001") == ("0002", "0002")
        run_sql(empty_ledger, f"UPDATE {schema.VERSION_TABLE} SET version_num = '9999'")
        assert schema.upgrade(empty_ledger, at_least=schema.REVISION) == ("9999", "9999")

    def test_a_failed_one_leaves_nothing_behind(self, empty_ledger: Ledger) -> None:
        """A table that is in the way stops it, in one transaction or, on MariaDB, before anything was made."""
        run_sql(empty_ledger, "CREATE TABLE backout_review (id INTEGER PRIMARY KEY)")
        with pytest.raises(Exception, match="already exists"):
            schema.upgrade(empty_ledger)
        assert schema.current_revision(empty_ledger) is None
        assert table_names(empty_ledger) == {"backout_review"}

    def test_it_leaves_the_applications_own_alembic_alone(self, empty_ledger: Ledger) -> None:
        """An application's Alembic in the same database keeps its version, and ours has a table of its own."""
        run_sql(empty_ledger, "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
        run_sql(empty_ledger, "INSERT INTO alembic_version VALUES ('their_revision')")
        schema.upgrade(empty_ledger)
        assert schema.verify(empty_ledger) == schema.expected_revision()
        theirs = empty_ledger.read(lambda connection: MigrationContext.configure(connection).get_current_revision())
        assert theirs == "their_revision"
        assert table_names(empty_ledger) == TABLES | {"alembic_version", schema.VERSION_TABLE}


class TestUpgradeOfRows:
    def test_what_0002_has_recorded_is_kept(self, empty_ledger: Ledger) -> None:
        """Runs and rows of the release before are the same afterwards, with nothing forgiven and nothing left out."""
        upgrade_to(empty_ledger, "0002")
        run_sql(
            empty_ledger,
            f"INSERT INTO backout_run ({', '.join(RUN_OF_0002)}) VALUES ({', '.join(RUN_OF_0002.values())})",
        )
        run_sql(
            empty_ledger,
            f"INSERT INTO backout_step ({', '.join(STEP_OF_0002)}) VALUES ({', '.join(STEP_OF_0002.values())})",
        )
        before = {table: rows_of(empty_ledger, table) for table in ("backout_run", "backout_step")}
        assert schema.upgrade(empty_ledger)[0] == "0002"
        assert rows_of(empty_ledger, "backout_run") == [{**before["backout_run"][0], "rollback_to": None}]
        assert rows_of(empty_ledger, "backout_step") == [{**before["backout_step"][0], "forgiven_attempts": 0}]
        assert schema.differences(empty_ledger) == []

    def test_runs_can_be_stopped_by_hand_from_then_on(self, empty_ledger: Ledger) -> None:
        """The states that 0003 brings are refused before it and allowed after it; others never are."""
        upgrade_to(empty_ledger, "0002")
        columns = f"INSERT INTO backout_run ({', '.join(RUN_OF_0002)}) VALUES ({', '.join(RUN_OF_0002.values())})"
        run_sql(empty_ledger, columns)
        paused = "UPDATE backout_run SET state = 'paused', finished_at = NULL"
        with pytest.raises(DBAPIError):
            run_sql(empty_ledger, paused)
        schema.upgrade(empty_ledger)
        run_sql(empty_ledger, paused)
        with pytest.raises(DBAPIError):
            run_sql(empty_ledger, "UPDATE backout_run SET state = 'no_such_state'")


class TestVerify:
    def test_it_returns_the_revision(self, own_ledger: Ledger) -> None:
        """A schema of this release is accepted."""
        assert schema.verify(own_ledger) == schema.expected_revision()

    def test_an_empty_database_is_refused(self, empty_ledger: Ledger) -> None:
        """Nothing is started on a database without tables; the message names the command that makes them."""
        with pytest.raises(SchemaMismatch, match="has no backout tables") as caught:
            schema.verify(empty_ledger)
        assert caught.value.found is None
        assert "backout ledger upgrade" in str(caught.value)

    @pytest.mark.parametrize("found", ["0000", "9999_from_the_future"])
    def test_another_revision_is_refused(self, own_ledger: Ledger, found: str) -> None:
        """Neither an older nor a newer ledger is worked on; the message says what to do in both cases."""
        run_sql(own_ledger, f"UPDATE {schema.VERSION_TABLE} SET version_num = '{found}'")
        with pytest.raises(SchemaMismatch, match=found) as caught:
            schema.verify(own_ledger)
        assert (caught.value.found, caught.value.expected) == (found, schema.expected_revision())
        assert "backout ledger upgrade" in str(caught.value)
        assert "deploy the newer release" in str(caught.value)

    def test_it_writes_nothing(self, empty_ledger: Ledger) -> None:
        """Looking at a database does not make a version table in it."""
        with pytest.raises(SchemaMismatch):
            schema.verify(empty_ledger)
        assert table_names(empty_ledger) == set()


RUN_OF_0002 = {
    "id": "'0198c0de-0000-7000-8000-000000000001'",
    "pipeline": "'fulfil_order'",
    "definition_digest": "'00000000'",
    "plan": """'{"format": 1}'""",
    "source_event_id": "'form-1'",
    "state": "'rolled_back'",
    "operator_state": "'charge_failed_rolled_back'",
    "external_ids": """'{"charge": "ch-1"}'""",
    "attempt_count": "3",
    "requires_human_review": "false",
    "rollback_outcome": "'complete'",
    "input": """'{"id": "order-1"}'""",
    "created_at": "'2026-01-01 10:00:00.000000'",
    "updated_at": "'2026-01-01 10:00:00.000000'",
    "finished_at": "'2026-01-01 10:00:00.000000'",
}
"""Column to SQL literal: a run as the release of 0002 has written it."""
STEP_OF_0002 = {
    "run_id": RUN_OF_0002["id"],
    "round": "1",
    "position": "0",
    "direction": "'forward'",
    "step": "'charge'",
    "state": "'failed'",
    "attempt": "3",
    "lost_attempts": "1",
    "start_order": "1",
    "idempotency_key": "'key'",
    "task_id": RUN_OF_0002["id"],
    "external_ids": "'{}'",
    "error": """'{"type": "OSError", "message": "declined"}'""",
    "sends": "0",
    "finished_at": "'2026-01-01 10:00:00.000000'",
}


def upgrade_to(ledger: Ledger, revision: str) -> None:
    """Bring an empty ledger to an older revision, as the release of that time did."""
    with ledger.transaction() as connection:
        command.upgrade(schema._config(connection), revision)


def rows_of(ledger: Ledger, table: str) -> list[dict[str, Any]]:
    """Return all rows as the database gives them, without the types of the models."""
    return ledger.read(
        lambda connection: [dict(row._mapping) for row in connection.execute(text(f"SELECT * FROM {table}"))]
    )


def run_sql(ledger: Ledger, statement: str) -> None:
    with ledger.transaction() as connection:
        connection.execute(text(statement))


def table_names(ledger: Ledger) -> set[str]:
    def read(connection: Connection) -> set[str]:
        return set(inspect(connection).get_table_names())

    return ledger.read(read)


def test_a_plain_engine_can_read_the_version(own_ledger: Ledger, empty_url: str) -> None:
    """Anybody can see the revision with a SELECT."""
    engine = create_engine(empty_url)
    with engine.connect() as connection:
        found = connection.execute(text(f"SELECT version_num FROM {schema.VERSION_TABLE}")).scalar_one()
    engine.dispose()
    assert found == schema.expected_revision()

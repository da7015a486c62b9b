"""`manage.py backout`, `manage.py check`, and what Django's own commands do to the ledger."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.core import checks
from django.core.management import CommandError, call_command
from django.db import connections
from django.db.migrations.loader import MigrationLoader
from django.test import override_settings

from backout.integrations.django import checks as ours
from backout.integrations.django.engine import find_engine, project_app
from backout.integrations.django.models import Entry, Review, Run, Step
from backout.integrations.django.operations import UpgradeLedger
from backout.ledger import schema
from backout.tasks.runtime import forget_runtime
from tests.integrations.django.inside.looking import committed_runs
from tests.integrations.django.project.shop.pipelines import fulfil

REVISIONS = [f"{number:04}" for number in range(1, int(schema.REVISION) + 1)]


def call(*arguments: str) -> str:
    written = io.StringIO()
    call_command("backout", *arguments, stdout=written)
    return written.getvalue()


def test_command_line_is_whole_and_reads_this_ledger() -> None:
    """`call_command` returns what a command writes, and its exit code when that is not 0."""
    handle = fulfil.enqueue({"number": "1"})
    assert [run["id"] for run in json.loads(call("runs", "list", "--json"))["runs"]] == [handle.id]
    assert "python manage.py backout runs" in call("runs", "next", handle.id)
    with pytest.raises(CommandError, match="no run 'nothing'") as missing:
        call("runs", "show", "nothing")
    with pytest.raises(CommandError, match="No such command") as wrong:
        call("nonsense")
    assert (missing.value.returncode, wrong.value.returncode) == (3, 2)
    with pytest.raises(CommandError, match="exit code 1") as warned:
        call("check", "--strict", "doubtful")
    assert warned.value.returncode == 1


def test_flush_empties_the_ledger_too() -> None:
    """Between tests no run is left whose rows are gone; another database's flush leaves it alone."""
    fulfil.enqueue({"number": "1"})
    call_command("flush", interactive=False, database="other")
    assert len(committed_runs()) == 1
    call_command("flush", interactive=False)
    assert committed_runs() == []


def test_flush_by_a_person_asks_for_the_ledger_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is more than Django's question says."""
    fulfil.enqueue({"number": "1"})
    monkeypatch.setattr("builtins.input", lambda question: "no" if "ledger" in question else "yes")
    call_command("flush")
    assert len(committed_runs()) == 1


def test_dump_of_a_project_leaves_the_ledger_out() -> None:
    """What is dumped can be loaded, from any database; runs are dumped only where they are named."""
    fulfil.enqueue({"number": "1"})

    def dump(*labels: str, **options: Any) -> set[str]:
        written = io.StringIO()
        call_command("dumpdata", *labels, stdout=written, **options)
        return {row["model"] for row in json.loads(written.getvalue())}

    assert not {model for model in dump() | dump(database="other") if model.startswith("backout.")}
    assert dump("backout.run") == {"backout.run"}


def ids(found: list[checks.CheckMessage]) -> set[str]:
    return {message.id for message in found if message.id.startswith("backout.")}


@pytest.fixture
def app() -> Iterator[Any]:
    app = project_app()
    forget_runtime(app)
    yield app
    app.conf.task_always_eager = False
    forget_runtime(app)


def test_checks_say_what_is_wrong_with_settings(app: Any) -> None:
    """In the words of the error that enqueue would raise."""
    with override_settings(BACKOUT={"LEASE_SECOND": 3}):
        (error,) = ours.check_settings()
    assert (error.level, error.id) == (checks.ERROR, "backout.E001")
    assert ("'LEASE_SECOND'" in error.msg, error.hint) == (True, "Did you mean 'LEASE_SECONDS'?")


def test_checks_say_what_settings_cost(app: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ledger elsewhere, SQLite that locks late, resends in a hurry, tasks that run where they are sent."""
    assert "backout.W024" in ids(ours.check_settings())
    app.conf.task_always_eager = True
    (eager,) = [message for message in ours.check_settings() if message.id == "backout.W021"]
    assert eager.hint.endswith("CELERY_TASK_ALWAYS_EAGER = False")
    forget_runtime(app)
    with override_settings(BACKOUT={"DATABASE_URL": "postgresql+psycopg://elsewhere/l", "RESEND_SECONDS": 2}):
        assert {"backout.W012", "backout.W022"} <= ids(ours.check_settings())
    forget_runtime(app)
    if connections["default"].vendor == "sqlite":
        monkeypatch.setitem(connections["default"].settings_dict, "OPTIONS", {})
        assert "backout.W011" in ids(ours.check_settings())


def test_checks_warn_of_contracts() -> None:
    """As `backout check` does, each kind under an id of its own that can be silenced."""
    found = {message.id: message for message in ours.check_contracts() if "fulfil" in message.msg}
    assert found == {}
    warned = {message.id: message for message in ours.check_contracts() if "doubtful" in message.msg}
    assert set(warned) == {"backout.W001", "backout.W004"}
    assert "reconcile" in warned["backout.W001"].hint


def test_checks_ask_the_database_only_where_they_may(monkeypatch: pytest.MonkeyPatch) -> None:
    """An older ledger is an error of `check --database default`, and no obstacle for `migrate`."""
    ledger = find_engine().ledger
    assert "backout.E002" not in ids(checks.run_checks(databases=["default"]))
    change = f"UPDATE {schema.VERSION_TABLE} SET version_num = %s"
    with connections["default"].cursor() as cursor:
        cursor.execute(change, ["0001"])
    try:
        assert "backout.E002" not in ids(checks.run_checks())
        (error,) = [one for one in checks.run_checks(databases=["default"]) if one.id == "backout.E002"]
        assert error.hint == "Run `manage.py migrate` with this release."
        monkeypatch.setattr("sys.argv", ["manage.py", "migrate"])
        assert "backout.E002" not in ids(checks.run_checks(databases=["default"]))
    finally:
        with connections["default"].cursor() as cursor:
            cursor.execute(change, [schema.REVISION])
    assert schema.verify(ledger) == schema.REVISION


def test_each_step_of_the_ledger_has_a_migration() -> None:
    """Both ways of upgrading know the same steps, and the newest migration leads to what this release needs."""
    loaded = MigrationLoader(None).disk_migrations
    upgrades = {
        key[1]: operation.revision
        for key, migration in loaded.items()
        if key[0] == "backout"
        for operation in migration.operations
        if isinstance(operation, UpgradeLedger)
    }
    assert sorted(upgrades.values()) == REVISIONS
    assert {name[:4]: revision for name, revision in upgrades.items()} == {one: one for one in REVISIONS}
    assert not any(migration.atomic for key, migration in loaded.items() if key[0] == "backout")


def test_tables_are_there_for_projects_that_test_without_migrations() -> None:
    """With MIGRATION_MODULES = {"backout": None}, `migrate` makes them all the same."""
    with connections["default"].cursor() as cursor:
        for table in (*(model._meta.db_table for model in (Run, Step, Entry, Review)), schema.VERSION_TABLE):
            cursor.execute(f"DROP TABLE {table}")
    with override_settings(MIGRATION_MODULES={"backout": None}):
        call_command("migrate", run_syncdb=True, verbosity=0)
    assert schema.differences(find_engine().ledger) == []

"""`backout doctor` on real installations: a healthy one, and each that something real is wrong with."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, text

from backout import Pipeline, step
from backout.ledger import queries
from backout.ledger.session import Ledger
from backout.states import RunState, StepState
from backout.tasks.doctor.ask_ledger import ask_ledger
from backout.tasks.doctor.collect import Question, collect_facts
from backout.tasks.doctor.diagnosis import diagnose
from backout.tasks.doctor.facts import Failed
from backout.tasks.doctor.findings import Code, Finding, Level
from tests.integration.engine.conftest import OpenStack
from tests.support.apps import names, pipelines
from tests.support.ledgers import key_of, put_run, put_step
from tests.support.processes import find_children
from tests.support.stack import SHOP, Stack
from tests.support.waiting import wait_until
from tests.support.worker import ROOT

SHOP_PIPELINES = tuple(value for value in vars(pipelines).values() if isinstance(value, Pipeline))


@step(effect="read")
def forgotten(order: str) -> str:
    return order


FORGOTTEN = Pipeline("doctor_forgotten", [forgotten])
"""No worker of a stack imports this module."""


def examine(
    stack: Stack, defined: Iterable[Pipeline] = SHOP_PIPELINES, *, timeout_seconds: float = 0.5
) -> dict[Code, Finding]:
    """Return the findings about a stack, those that are worst for each check."""
    question = Question(
        app=stack.app,
        app_name=SHOP,
        database_url=None,
        plans=tuple(pipeline.plan for pipeline in defined),
        timeout_seconds=timeout_seconds,
        with_workers=True,
    )
    return {finding.code: finding for finding in diagnose(collect_facts(question, lambda _: None))}


def run_doctor(stack: Stack, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command as a person does."""
    return subprocess.run(
        [sys.executable, "-m", "backout", "--app", SHOP, "doctor", "--timeout", "1", *options],
        env={**os.environ, **stack.environment, "COLUMNS": "100", **environment},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def levels_of(document: Any) -> dict[str, str]:
    """Return the level of each check in what `--json` wrote."""
    return {finding["code"]: finding["level"] for finding in document["findings"]}


def test_a_healthy_installation_has_no_problem(postgres_stack: Stack) -> None:
    """A worker, its sweeper, broker and ledger: everything is asked, and nothing is a problem."""
    findings = examine(postgres_stack, [pipelines.ORDER])
    assert [finding for finding in findings.values() if finding.level is Level.PROBLEM] == []
    for code in (
        Code.LEDGER_TABLES,
        Code.BROKER_REACHABLE,
        Code.WORKERS_ANSWER,
        Code.WORKER_LEDGER,
        Code.TASKS_KNOWN,
        Code.TASK_OPTIONS,
        Code.QUEUES_CONSUMED,
        Code.SWEEPER,
        Code.WORKER_EVENTS,
    ):
        assert findings[code].level is Level.OK


def test_the_exit_code_tells_whether_there_is_a_problem(postgres_stack: Stack) -> None:
    """The stack defines a pipeline whose queue nobody takes messages from; without asking workers that is not seen."""
    asked = run_doctor(postgres_stack, "--json")
    assert (asked.returncode, asked.stderr) == (1, "")
    document = json.loads(asked.stdout)
    assert not document["ok"]
    (problem,) = (finding for finding in document["findings"] if finding["level"] == "problem")
    assert problem["code"] == "queues_consumed"
    assert problem["to_copy"] == f"celery -A {SHOP} worker --queues nobody"
    not_asked = run_doctor(postgres_stack, "--json", "--no-workers")
    assert not_asked.returncode == 0
    assert json.loads(not_asked.stdout)["ok"]


def test_warnings_count_when_one_asks_for_it(postgres_stack: Stack) -> None:
    """The stack sends messages again after two seconds, which is a warning."""
    result = run_doctor(postgres_stack, "--strict", "--no-workers")
    assert result.returncode == 1
    assert "! warning: a message that nobody takes up is sent again after 2 s already" in result.stdout
    assert "not asked: --no-workers" in result.stdout
    assert result.stdout.splitlines()[-1].startswith("! ")


def test_without_a_broker_the_rest_is_checked(postgres_stack: Stack) -> None:
    """The broker is a problem, the workers cannot be asked, and the ledger is examined all the same."""
    result = run_doctor(postgres_stack, "--json", **{names.BROKER: "redis://:sekrit@127.0.0.1:1/0"})
    assert result.returncode == 1
    levels = levels_of(json.loads(result.stdout))
    assert levels["broker_reachable"] == "problem"
    assert levels["workers_answer"] == "note"
    assert levels["ledger_schema"] == levels["silent_runs"] == "ok"
    assert "sekrit" not in result.stdout + result.stderr


def test_without_a_database_the_rest_is_checked(postgres_stack: Stack) -> None:
    """The ledger is a problem; broker and workers are examined all the same."""
    away = "postgresql+psycopg://shop:sekrit@127.0.0.1:1/shop"
    result = run_doctor(postgres_stack, "--json", **{names.LEDGER: away})
    assert result.returncode == 1
    levels = levels_of(json.loads(result.stdout))
    assert levels["ledger_reachable"] == "problem"
    assert levels["broker_reachable"] == levels["workers_answer"] == levels["tasks_known"] == "ok"
    assert "sekrit" not in result.stdout + result.stderr


@pytest.mark.parametrize("database", ["postgresql", "sqlite"])
def test_a_ledger_without_tables_is_a_problem(new_stack: OpenStack, database: str) -> None:
    """With the command that makes them."""
    stack = new_stack(database, is_migrated=False)
    stack.engine.connect().close()
    finding = examine(stack)[Code.LEDGER_SCHEMA]
    assert finding.level is Level.PROBLEM
    assert finding.to_copy == f"celery -A {SHOP} backout ledger upgrade"


def test_a_ledger_that_answers_too_late_is_left_alone(new_stack: OpenStack) -> None:
    """The doctor goes on without it, and the question that it has given up closes its connection by itself."""
    stack = new_stack()
    with stack.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as looking:
        with stack.engine.begin() as holding:
            holding.execute(text("LOCK TABLE backout_run IN ACCESS EXCLUSIVE MODE"))
            before = connections_of(looking).keys()
            found, _ = ask_ledger(stack.ledger_url, sweep_interval_seconds=5, timeout_seconds=0.05)
            assert isinstance(found, Failed)
            assert found.said == "no answer within 0.2 s"
            wait_until(lambda: "Lock" in connections_of(looking).values(), 10, "the question waits for the lock")
        wait_until(lambda: connections_of(looking).keys() <= before, 10, "its connection is closed")


def connections_of(looking: Connection) -> dict[int, str | None]:
    """Return the connections to a database, each with what it waits for."""
    statement = "SELECT pid, wait_event_type FROM pg_stat_activity WHERE datname = current_database()"
    return {row.pid: row.wait_event_type for row in looking.execute(text(statement))}


def test_no_worker_is_a_problem(new_stack: OpenStack) -> None:
    """Nothing that is enqueued would start."""
    findings = examine(new_stack("sqlite"))
    assert findings[Code.WORKERS_ANSWER].level is Level.PROBLEM
    assert findings[Code.SWEEPER].level is Level.NOTE


def test_a_visibility_timeout_shorter_than_a_step_is_a_warning(new_stack: OpenStack) -> None:
    """With the value that would be long enough."""
    finding = examine(new_stack("sqlite", visibility_seconds=60))[Code.VISIBILITY_TIMEOUT]
    assert finding.level is Level.WARNING
    longest = max(step.timeout_seconds for pipeline in SHOP_PIPELINES for step in pipeline.plan.steps)
    assert f'"visibility_timeout": {round(longest + 30.5)}' in finding.to_copy


def test_a_task_that_no_worker_knows_is_a_problem(postgres_stack: Stack) -> None:
    """Its pipeline is defined here, and the worker does not import the module."""
    finding = examine(postgres_stack, (*SHOP_PIPELINES, FORGOTTEN))[Code.TASKS_KNOWN]
    assert finding.level is Level.PROBLEM
    assert finding.found == f"no worker knows {__name__}.forgotten (of doctor_forgotten.forgotten)"


def test_overdue_rows_without_a_worker_show_that_nobody_sweeps(new_stack: OpenStack) -> None:
    """The ledger is the evidence where no worker can be asked."""
    stack = new_stack("sqlite")
    ledger = Ledger(stack.ledger_url)
    due = ledger.read(queries.read_clock) - timedelta(minutes=5)
    with ledger.transaction() as connection:
        run_id = put_run(connection, state=RunState.RUNNING)
        put_step(connection, key_of(run_id), state=StepState.READY, sweep_at=due)
    ledger.dispose()
    findings = examine(stack)
    assert findings[Code.SWEEPER].level is findings[Code.OVERDUE].level is Level.PROBLEM


def test_a_killed_sweeper_is_seen(new_stack: OpenStack) -> None:
    """Until its worker has started it again it is missing; afterwards it counts as unsteady."""
    stack = new_stack("sqlite")
    worker = stack.start_worker()
    (sweeper,) = (pid for pid, command in find_children(worker.process.pid).items() if "sweep" in command)
    os.kill(sweeper, signal.SIGKILL)
    missed = wait_until(
        lambda: [finding for finding in [examine(stack)[Code.SWEEPER]] if finding.level is not Level.OK],
        20,
        "the sweeper is missed",
    )
    assert missed[0].level in (Level.PROBLEM, Level.WARNING)


def test_a_worker_without_backout_is_a_problem_and_not_disturbed(new_stack: OpenStack) -> None:
    """It takes messages from the queue of steps and would throw them away; being asked is no error in its log."""
    stack = new_stack("sqlite")
    worker = stack.start_worker("--pool", "solo", app="tests.support.apps.uninstalled")
    findings = examine(stack)
    assert findings[Code.WORKER_BACKOUT].level is Level.PROBLEM
    assert "it has the settings only" in findings[Code.WORKER_BACKOUT].remedy
    assert findings[Code.QUEUES_CONSUMED].level is Level.PROBLEM
    assert "ERROR" not in worker.log
    assert "WARNING" not in worker.log

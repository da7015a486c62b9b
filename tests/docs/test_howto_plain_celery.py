"""What the page on plain Celery and FastAPI says is true: its files are a project, and its commands run it."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from backout.testing.servers import Broker
from backout.testing.servers.postgres import Postgres
from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "howto" / "plain-celery.md").read_text()
BROKER = '"redis://localhost"'
LEDGER = "postgresql+psycopg://shop@localhost/shop"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def typed(sign: str) -> list[str]:
    """Return the command of the page that has this in it."""
    lines = [line.removeprefix("$ ") for block in blocks("console") for line in block.splitlines()]
    (found,) = (line for line in lines if sign in line)
    return shlex.split(found)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, broker: Broker, postgres: Postgres) -> Iterator[Path]:
    """The page's files in a folder; broker and database are those of the tests, nothing else is changed."""
    name = f"backout_page_{uuid.uuid4().hex}"
    url = postgres.create_database(name)
    folder = tmp_path_factory.mktemp("plain_page")
    (folder / "proj").mkdir()
    (folder / "proj" / "__init__.py").touch()
    for block in blocks("python"):
        path = block.partition("\n")[0].removeprefix("# ")
        text = block.replace(BROKER, f"{broker.url!r}").replace(LEDGER, url)
        if path == "proj/celery.py":
            # The broker is shared: this project keeps to a queue of its own.
            text += f"app.conf.task_default_queue = {name!r}\n"
        (folder / path).write_text(text)
    yield folder
    postgres.drop_database(name)


@pytest.fixture(scope="module")
def worker(project: Path) -> Iterator[Path]:
    """The page's worker, after the page's upgrade; its log."""
    assert "upgraded" in run(project, *typed("ledger upgrade"))
    log = project / "worker.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*typed("worker"), "--pool", "solo"],
            cwd=project,
            env=environment(project),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    yield log
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def environment(project: Path) -> dict[str, str]:
    programs = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return {**os.environ, "PATH": programs, "PYTHONPATH": os.pathsep.join([str(project), str(ROOT)])}


def run(project: Path, *command: str) -> str:
    done = subprocess.run(command, cwd=project, env=environment(project), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def wait_for(project: Path, run_id: str, log: Path) -> None:
    """Wait until the page's own command lists a run as succeeded."""

    def is_done() -> bool:
        listed = json.loads(run(project, *typed("runs list"), "--json"))
        states = {item["id"]: item["state"] for item in listed["runs"]}
        return bool(states[run_id] == "succeeded")

    wait_until(is_done, 30, f"run {run_id} has succeeded\n{log.read_text()}")


def test_plain_celery_needs_one_call(project: Path, worker: Path) -> None:
    """A reader who copies two files and types four commands has a run that has succeeded."""
    run_id = run(project, *typed("python -c")).strip()
    wait_for(project, run_id, worker)


def test_fastapi_commits_order_and_run_together(project: Path, worker: Path) -> None:
    """Both kinds of endpoint start runs; an order that is not committed has none."""
    said = json.loads(run(project, sys.executable, "-W", "error", "-c", ASK))
    assert said["status"] == [201, 201, 500]
    assert said["orders"] == ["Ada"]
    for run_id in said["runs"]:
        wait_for(project, run_id, worker)
    listed = json.loads(run(project, *typed("runs list"), "--json"))
    assert "Eve" not in {item["subject_id"] for item in listed["runs"]}


ASK = """
import json
from fastapi.testclient import TestClient
from sqlalchemy import event, select
from sqlalchemy.orm import Session
from proj.web import Base, Order, api, engine

def refuse(session):
    if any(isinstance(row, Order) and row.customer == "Eve" for row in session.identity_map.values()):
        raise RuntimeError("the business says no")

event.listen(Session, "before_commit", refuse)
Base.metadata.create_all(engine)
client = TestClient(api, raise_server_exceptions=False)
placed = client.post("/orders?customer=Ada")
reminded = client.post("/reminders", json={"order": 1, "customer": "Ada"})
refused = client.post("/orders?customer=Eve")
with Session(engine) as session:
    orders = list(session.scalars(select(Order.customer)))
engine.dispose()
print(json.dumps({
    "status": [answer.status_code for answer in (placed, reminded, refused)],
    "runs": [placed.json()["run"], reminded.json()["run"]],
    "orders": orders,
}))
"""

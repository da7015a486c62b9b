"""What the page on Flask says is true: its files are an app, and its commands run it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from backout.testing.servers import Broker
from backout.testing.servers.rabbitmq import free_port
from tests.support.corners import RedisCorner
from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "howto" / "flask.md").read_text()
NEW_LINES = 4
"""How many lines of an existing app change."""


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def files() -> dict[str, str]:
    """Return the files of the page by their names; what goes into `create_app` is in its place."""
    named = {block.partition("\n")[0].removeprefix("# "): block for block in blocks("python")}
    into_factory = named.pop("in create_app").partition("\n")[2]
    start = named["shop/__init__.py"]
    named["shop/__init__.py"] = start.replace("    return app\n", f"{into_factory}    return app\n", 1)
    return named


def commands() -> dict[str, list[str]]:
    """Return the commands of the page, each by what tells it from the others."""
    lines = [line.removeprefix("$ ") for block in blocks("console") for line in block.splitlines()]
    words = {"ledger upgrade": "upgrade", "worker": "worker", " run": "web", "curl": "order", "runs list": "list"}
    return {
        name: next(line for line in lines if sign in line and "pip" not in line).split()
        for sign, name in reversed(words.items())
    }


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page's files in a folder."""
    folder = tmp_path_factory.mktemp("flask_page")
    for name, text in files().items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.fixture(scope="module")
def environment(project: Path, broker: Broker) -> Iterator[dict[str, str]]:
    """An environment in which the broker is the tests' own; nothing else is changed."""
    corner = RedisCorner(broker, visibility_seconds=3600)
    programs = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    yield {
        **os.environ,
        "PATH": programs,
        "PYTHONPATH": os.pathsep.join([str(project), str(ROOT)]),
        "FLASK_CELERY__broker_url": corner.url,
        "FLASK_CELERY__broker_transport_options": json.dumps(corner.settings["broker_transport_options"]),
        "FLASK_BACKOUT_RESEND_SECONDS": "2",
    }
    corner.close()


@contextmanager
def running(command: list[str], folder: Path, environment: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """Keep a command running inside the block."""
    with (folder / f"{command[0]}.log").open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def run(command: list[str], folder: Path, environment: Mapping[str, str]) -> str:
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def post(url: str, data: str) -> dict[str, Any] | None:
    try:
        with urllib.request.urlopen(url, data=data.encode(), timeout=30) as answer:
            found: dict[str, Any] = json.loads(answer.read())
            return found
    except urllib.error.URLError:
        return None


def test_page_leads_to_a_run_that_succeeds(project: Path, environment: dict[str, str]) -> None:
    """A reader who copies the files and types the commands has ordered something, and the run of it has succeeded."""
    typed = commands()
    run([sys.executable, "-c", MAKE_TABLES], project, environment)
    assert "upgraded" in run(typed["upgrade"], project, environment)
    port = free_port()
    _, option, data, url = typed["order"]
    assert option == "-d"
    with (
        running([*typed["worker"], "--pool", "solo"], project, environment),
        running([*typed["web"], "--port", str(port)], project, environment),
    ):
        answer = wait_until(lambda: post(url.replace("5000", str(port)), data), 30, "the site takes an order")

        def is_done() -> bool:
            listed = json.loads(run([*typed["list"], "--json"], project, environment))
            states = {item["id"]: item["state"] for item in listed["runs"]}
            return bool(states[answer["run"]] == "succeeded")

        wait_until(is_done, 30, f"the run has succeeded\n{(project / 'celery.log').read_text()}")


# The page leaves the tables of the models to the reader.
MAKE_TABLES = """
from shop import create_app, db
app = create_app()
with app.app_context():
    db.create_all()
"""


def test_migrations_leave_the_ledger_alone(project: Path, environment: dict[str, str]) -> None:
    """Flask-Migrate sees the models as they are in the database, and nothing of the ledger beside them."""
    flask = ["flask", "--app", "migrating", "db"]
    (project / "migrating.py").write_text(MIGRATING)
    run([sys.executable, "-c", MAKE_TABLES], project, environment)
    run(commands()["upgrade"], project, environment)
    run([*flask, "init"], project, environment)
    run([*flask, "stamp"], project, environment)
    run([*flask, "check"], project, environment)


MIGRATING = """
from flask_migrate import Migrate
from shop import create_app, db
app = create_app()
Migrate(app, db)
"""


def test_tests_of_the_page_pass(project: Path, environment: dict[str, str]) -> None:
    """The test that the page shows is green."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", "tests"]
    assert "1 passed" in run(
        [*command, "-p", "backout.testing.pytest_plugin"], project, pytest_environment(environment)
    )


def pytest_environment(environment: Mapping[str, str]) -> dict[str, str]:
    return {**environment, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}


def test_staff_sees_what_the_page_allows(project: Path, environment: dict[str, str]) -> None:
    """Whoever is on the list sees the runs; nobody else does."""
    said = run([sys.executable, "-c", VISIT], project, environment)
    assert json.loads(said) == {"": 403, "alan": 200, "eve": 403}


VISIT = """
import json
from shop import create_app
statuses = {}
for name in ("", "alan", "eve"):
    client = create_app().test_client()
    with client.session_transaction() as session:
        session["user"] = name
    statuses[name] = client.get("/runs/").status_code
print(json.dumps(statuses))
"""


def test_few_lines_change() -> None:
    """The page promises how few lines an existing app needs, and marks them."""
    assert len(re.findall(r"# new$", PAGE, re.MULTILINE)) == NEW_LINES
    assert "Three lines for the extension, one for each view" in PAGE

"""An operator with nothing but the command line brings broken runs to their right end; nothing is done twice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from backout import Pipeline, RunHandle
from tests.support.apps import pipelines
from tests.support.ledgers import on_sqlite_stack
from tests.support.stack import COMPENSATION, SHOP, Stack
from tests.support.waiting import wait_until
from tests.support.worker import ROOT

WHY = ("--reason", "the bank says so", "--actor", "ada")
Operate = Callable[..., str]


@pytest.fixture
def operate(stack: Stack) -> Operate:
    """Call a command and return what it says: with nothing but the ledger's URL, or with the app that sends at once.

    The one on SQLite, the other on PostgreSQL: what is recorded is compared on each database elsewhere, and most is
    tried with the ledger alone.
    """
    is_recording = stack.ledger_url.startswith("sqlite")
    given = ["--database", stack.ledger_url] if is_recording else ["--app", SHOP]

    def operate(*arguments: str) -> str:
        command = [sys.executable, "-m", "backout.cli", *given, *arguments]
        done = subprocess.run(
            command, env={**os.environ, **stack.environment}, cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        if "  next: " in done.stdout:
            assert ("sweeper sends it" in done.stdout) is is_recording
        return done.stdout

    return operate


def brought_to(stack: Stack, handle: RunHandle, state: str) -> None:
    """Wait for the state; it may be the one from which the run was just started."""
    wait_until(lambda: handle.status().state == state, 30.0, f"run {handle.id} is {state}\n{stack.story(handle)}")


@pytest.mark.parametrize(
    ("pipeline", "script", "commands", "state", "effects"),
    [
        pytest.param(
            pipelines.PARKING,
            {"money_park": ["fail", "ok"]},
            [("runs", "retry", "RUN", "--yes")],
            "succeeded",
            ["goods", "money_park"],
            id="parked, retried",
        ),
        pytest.param(
            pipelines.ONCE,
            {"money_once": ["die"]},
            [("reviews", "resolve", "REVIEW", "done", "--output", '{"step":"money_once","attempt":1}')],
            "succeeded",
            ["goods", "money_once", "parcel"],
            id="in doubt, done",
        ),
        pytest.param(
            pipelines.ONCE,
            {"money_once": ["die_first", "ok"]},
            [("reviews", "resolve", "REVIEW", "not-done")],
            "succeeded",
            ["goods", "money_once", "parcel"],
            id="in doubt, not done",
        ),
        pytest.param(
            pipelines.ORDER,
            {"parcel": ["fail"], "undo money": ["error", "error", "error", "ok"]},
            [("runs", "continue", "RUN")],
            "rolled_back",
            ["goods", "money", "parcel", "undo parcel", "undo money", "undo goods"],
            id="undo failed, continued",
        ),
        pytest.param(
            pipelines.ONCE,
            {"parcel": ["fail"], "undo money_once": ["die"]},
            [("reviews", "resolve", "REVIEW", "done")],
            "rolled_back",
            ["goods", "money_once", "parcel", "undo parcel", "undo money_once", "undo goods"],
            id="undo in doubt, done",
        ),
        pytest.param(
            pipelines.IRREVERSIBLE,
            {"parcel": ["fail"]},
            [("runs", "rollback", "RUN", "--to-step", "letter")],
            "paused",
            ["goods", "letter", "parcel", "undo parcel"],
            id="irreversible, back to it",
        ),
        pytest.param(
            pipelines.ORDER,
            {"money": ["ask:credentials_failed", "ok"]},
            [("runs", "resume", "RUN")],
            "succeeded",
            ["goods", "money", "parcel"],
            id="credentials, resumed",
        ),
        pytest.param(
            pipelines.ORDER,
            {},
            [("runs", "rollback", "RUN")],
            "rolled_back",
            ["goods", "money", "parcel", "undo parcel", "undo money", "undo goods"],
            id="succeeded, rolled back late",
        ),
        pytest.param(
            pipelines.LENIENT,
            {"parcel": ["fail"], "undo money_lenient": ["fail", "ok"]},
            [("compensations", "rerun", "RUN", "money_lenient")],
            "rolled_back",
            ["goods", "money_lenient", "parcel", "undo parcel", "undo money_lenient", "undo goods"],
            id="partial, undone again",
        ),
        pytest.param(
            pipelines.REVIEWING,
            {"money_review": ["fail"]},
            [("runs", "skip", "RUN")],
            "succeeded",
            ["goods", "money_review"],
            id="in review, skipped",
        ),
    ],
)
@on_sqlite_stack
def test_broken_run_is_brought_to_its_right_end(
    stack: Stack,
    operate: Operate,
    pipeline: Pipeline,
    script: dict[str, list[str]],
    commands: list[tuple[str, ...]],
    state: str,
    effects: list[str],
) -> None:
    """What really happened outside is what should have happened, each thing once."""
    handle, _ = stack.run(pipeline, script)
    review = next((str(one.id) for one in stack.reviews(handle)), "")
    for command in commands:
        words = [{"RUN": handle.id, "REVIEW": review}.get(word, word) for word in command]
        operate(*words, *WHY)
        brought_to(stack, handle, state)
    assert sorted(stack.world.effects(handle.id)) == sorted(effects)


def test_next_names_commands_that_are_done_as_they_stand(stack: Stack, operate: Operate) -> None:
    """Somebody types what is called safe first, and the run comes to its end."""
    handle, _ = stack.run(pipelines.ORDER, {"parcel": ["fail"], "undo money": ["error", "error", "error", "ok"]})
    actions: list[dict[str, Any]] = json.loads(operate("runs", "next", handle.id, "--json"))["actions"]
    first = next(action for action in actions if action["is_safe"])
    words = first["command"].split()
    operate(*words[words.index("runs") :], *WHY)
    brought_to(stack, handle, "rolled_back")
    assert stack.states(handle, COMPENSATION)["money"] == "succeeded"


def test_rollback_waits_for_the_attempt_that_runs(stack: Stack, operate: Operate) -> None:
    """The run is paused meanwhile; what the attempt did is undone as well."""
    gate = f"cli-{stack.folder.name}-{id(operate)}"
    handle = stack.start(pipelines.ORDER, {"money": [f"hold:{gate}"]})
    wait_until(lambda: stack.world.is_reached(gate), 30.0, "money is running")
    stack.world.open(gate)
    operate("runs", "rollback", handle.id, "--wait", "30", *WHY, "--yes")
    brought_to(stack, handle, "rolled_back")
    assert stack.world.effects(handle.id).count("undo money") == stack.world.effects(handle.id).count("money") == 1

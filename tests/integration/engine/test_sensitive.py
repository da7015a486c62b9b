"""A real worker runs a pipeline with sensitive fields, and fails while it quotes them: nothing that is said tells them.

Nor does anything tell the password in the ledger's URL.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import pytest
from sqlalchemy import make_url

from backout import Direction, RunHandle, RunState
from backout.tasks.runtime import runtime_of
from backout.web.pages import draw_run, draw_runs
from tests.integration.engine.conftest import OpenStack
from tests.support.apps import names, pipelines
from tests.support.commands import call
from tests.support.events import SECONDS, watching
from tests.support.pages import PLACES, viewer
from tests.support.stack import Stack
from tests.support.waiting import wait_until

CARD: Final = "4111-1111-2222-3333"
PAYMENT: Final = "money_private-1"
PASSWORD: Final = "hunter2-hunter2"
SCRIPT: Final = {"money_private": [f"connection:card {CARD} times out", f"fail:card {CARD} refused, see {PAYMENT}"]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A run that was rolled back, and all that was said of it, by who said it."""

    stack: Stack
    handle: RunHandle
    said: Mapping[str, str]


@pytest.fixture(scope="module")
def told(open_stack: OpenStack) -> Iterator[Told]:
    """Everything is said once, because a worker takes long to start."""
    stack = open_stack("postgresql")
    url = make_url(stack.ledger_url).set(password=PASSWORD).render_as_string(hide_password=False)
    worker = stack.start_worker("--task-events", "--loglevel", "DEBUG", environment={names.LEDGER: url})
    with watching(stack) as watcher:
        handle, run = stack.run(pipelines.PRIVATE, SCRIPT, customer=CARD)
        stack.wait_until_idle()
        ended, ids = ("task-succeeded", "task-failed"), {row.task_id for row in handle.steps()}
        wait_until(
            lambda: {one["uuid"] for one in list(watcher.events) if one["type"] in ended} >= ids, SECONDS, "told"
        )
    assert run.state is RunState.ROLLED_BACK
    yield Told(
        stack=stack,
        handle=handle,
        said={
            "worker's log": worker.log_path.read_text(),
            "Celery events": "\n".join(map(str, watcher.events)),
            "inspect conf": str(stack.app.control.inspect(timeout=5, limit=1).conf()),
            "reasons of entries": "\n".join(str(entry.reason) for entry in handle.entries()),
            "errors": "\n".join(str(row.error) for row in handle.steps()),
            **dict(shown_by_commands(url, handle)),
            **dict(shown_by_pages(stack, handle)),
        },
    )
    worker.kill()


def shown_by_commands(url: str, handle: RunHandle) -> Iterator[tuple[str, str]]:
    for command in (
        ["runs", "show", handle.id, "--entries"],
        ["runs", "show", handle.id, "--entries", "--json"],
        ["runs", "list", "--json"],
        ["compensations", "list", handle.id, "--json"],
        ["ledger", "verify"],
    ):
        yield " ".join(command[:2] + command[3:]), call(*command, url=url).output


def shown_by_pages(stack: Stack, handle: RunHandle) -> Iterator[tuple[str, str]]:
    runtime: Any = runtime_of(stack.app)
    yield "page of the run", draw_run(runtime, handle.id, places=PLACES, viewer=viewer()).body
    yield "page of the runs", draw_runs(runtime, {}, places=PLACES, viewer=viewer()).body


@pytest.mark.parametrize("secret", [CARD, PAYMENT, PASSWORD])
def test_nothing_that_is_said_tells_a_secret(told: Told, secret: str) -> None:
    """Not where an exception quotes it either: log, Flower's events, entries, commands and pages say `[masked]`."""
    assert [who for who, said in told.said.items() if secret in said] == []


@pytest.mark.parametrize("who", ["worker's log", "Celery events", "reasons of entries", "runs show --entries --json"])
def test_the_failure_is_told_all_the_same(told: Told, who: str) -> None:
    """Whoever looks for the cause finds it."""
    assert "card [masked] refused" in told.said[who]


def test_the_ledger_and_the_functions_have_the_true_values(told: Told) -> None:
    """What undoes a payment needs its id."""
    run = told.handle.status()
    assert run.input == {"customer": CARD, "script": {"money_private": SCRIPT["money_private"]}}
    assert told.stack.step(told.handle, "money_private").external_ids == {"money_private": "money_private-2"}
    context = told.stack.world.told(f"{told.handle.id} money_private")
    assert context["external_ids"] == {"money_private": "money_private-2"}
    shown = json.loads(told.said["runs show --entries --json"])
    assert shown["run"]["input"]["customer"] == "[masked]"
    assert told.stack.states(told.handle, Direction.COMPENSATION)["money_private"] == "succeeded"

"""What the README says is true: its code runs, its commands exist."""

from __future__ import annotations

import re
import sys
import types
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import pytest
from celery import Celery

from backout import Pipeline
from backout.cli.main import backout as command_line

README = Path(__file__).parents[2] / "README.md"


@dataclass
class Order:
    amount_cents: int
    address: str


@dataclass
class Charge:
    id: str


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README.read_text(), re.DOTALL)


@pytest.fixture
def shop(monkeypatch: pytest.MonkeyPatch, sqlite_url: str) -> dict[str, Any]:
    """The modules of the reader's own project that the example imports."""
    services = types.ModuleType("shop.services")
    services.__dict__.update(Order=Order, Charge=Charge, bank=None, couriers=None)
    celery_module = types.ModuleType("shop.celery")
    celery_module.__dict__.update(app=Celery("shop", set_as_current=False))
    for module in (types.ModuleType("shop"), services, celery_module):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    # Not `shop.pipelines`: other tests of this process have plans whose tasks are called so, and define none of them.
    return {"__name__": "readme.pipelines", "Order": Order, "Charge": Charge}


def test_the_first_example_defines_a_pipeline(shop: dict[str, Any], sqlite_url: str) -> None:
    """A reader who copies the example gets a pipeline whose first step is undone by its compensation."""
    code = blocks("python")[0].replace("postgresql+psycopg:///shop", sqlite_url)
    exec(compile(code, str(README), "exec"), shop)  # the point of the test
    pipeline = shop["fulfil_order"]
    assert isinstance(pipeline, Pipeline)
    first, second = pipeline.plan.steps
    assert first.compensation is not None
    assert (first.compensation.action, second.recovery_reason) == (
        "refund the charge",
        "an unused booking expires by itself",
    )


@pytest.mark.parametrize(
    "line", [line for block in blocks("console") for line in block.splitlines() if "backout" in line]
)
def test_every_backout_command_of_the_readme_exists(line: str) -> None:
    """A reader who copies a command finds it, with its options."""
    words = line.partition("#")[0].replace("$", "").split()
    if "backout" not in words:
        return
    words = words[words.index("backout") + 1 :]
    context = click.Context(command_line)
    command: click.Command = command_line
    while words:
        word = words.pop(0)
        if word == "--app":
            words.pop(0)
        elif isinstance(command, click.Group):
            found = command.get_command(context, word)
            assert found is not None, f"{word} is no command of {command.name}"
            command = found
        elif word.startswith("--"):
            options = {name for parameter in command.params for name in parameter.opts}
            assert word in options

"""What the page on many runs says is true: its file is a module, and its functions do what they say."""

from __future__ import annotations

import importlib
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

from backout.cli.main import backout as command_line
from backout.errors import InvalidInput
from backout.ledger import schema
from backout.ledger.session import Ledger
from backout.pipelines.engine import engine_in_place
from tests.support.recorder import RecordingEngine, make_engine

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "howto" / "batches.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture(scope="module")
def shipping(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The page's module."""
    folder = tmp_path_factory.mktemp("page")
    (folder / "shipping.py").write_text("\n\n".join(blocks("python")))
    sys.path.insert(0, str(folder))
    yield importlib.import_module("shipping")
    sys.path.remove(str(folder))


@pytest.fixture
def engine(sqlite_url: str) -> Iterator[RecordingEngine]:
    ledger = Ledger(sqlite_url)
    schema.upgrade(ledger)
    made = make_engine(ledger)
    with engine_in_place(made):
        yield made
    ledger.dispose()


def test_result_tells_what_the_page_says(
    shipping: Any, engine: RecordingEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    """New, known and refused; and calling again is safe."""
    rows = [(1, "Ada"), (-1, "Bob"), (2, "Bob"), (1, "Ada")]
    result = shipping.ship_all(rows)
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "2 new, 1 known, 1 refused"
    assert said[1].startswith("input 1: pipeline 'ship_parcels' was not started")
    assert shipping.ship_all(rows).created == 0
    again = shipping.ship_forms([({"number": 2, "customer": "Bob"}, "parcel-2")])
    assert [handle.id for handle in again] == [result.handles[1].id]


def test_transaction_of_ones_own_is_all_or_nothing(shipping: Any, engine: RecordingEngine) -> None:
    """As the page says it."""
    theirs = create_engine(engine.ledger._url)
    with Session(theirs) as session:
        result = shipping.ship_with(session, [{"number": 1, "customer": "Ada"}])
        assert result.unsent is None
        assert result.handles[0].status().input == {"number": 1, "customer": "Ada"}
    with Session(theirs) as session, pytest.raises(InvalidInput) as caught:
        shipping.ship_with(session, [{"number": 1, "customer": "Ada"}, {}])
    assert "input 1" in caught.value.__notes__[0]
    theirs.dispose()


def test_progress_is_told(shipping: Any, engine: RecordingEngine, capsys: pytest.CaptureFixture[str]) -> None:
    """Of a generator without a total."""
    shipping.ship_file(f'{{"number": {number}, "customer": "Ada"}}' for number in range(1, 1_502))
    assert capsys.readouterr().out.splitlines() == [
        "1,000 of ? parcels, 0 refused",
        "1,501 of ? parcels, 0 refused",
    ]


def test_command_of_the_page_exists() -> None:
    """A reader who copies it finds its options."""
    (line,) = (line for block in blocks("console") for line in block.splitlines())
    words = shlex.split(line.partition(" runs ")[2])
    assert isinstance(command_line, click.Group)
    runs = command_line.get_command(click.Context(command_line), "runs")
    assert isinstance(runs, click.Group)
    known = {name for parameter in runs.commands[words[0]].params for name in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= known

"""The page about the JSON API: its examples are answered as it says, and its tables are those of the code."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from backout.ledger import schema
from backout.ledger.session import Ledger
from backout.web.rest import Code, describe
from backout.web.rest.problems import STATUSES
from tests.support.recorder import RecordingEngine, make_engine
from tests.support.rest import ask
from tests.support.scenes import doubted

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "http-api.md").read_text()


@pytest.fixture
def engine(sqlite_url: str) -> Iterator[RecordingEngine]:
    ledger = Ledger(sqlite_url)
    schema.upgrade(ledger)
    yield make_engine(ledger)
    ledger.dispose()


def send(engine: RecordingEngine, command: str, names: dict[str, str]) -> Any:
    """Return what a command of the page is answered."""
    words = shlex.split(re.sub("|".join(names), lambda found: names[found[0]], command))
    target = urlsplit(words[-1])
    body = words[words.index("--json") + 1].encode() if "--json" in words else None
    path = target.path.removeprefix("/api")
    query: dict[str, Any] = dict(parse_qs(target.query))
    status, document = ask(engine, "POST" if body else "GET", path, body=body, **query)
    assert status == 200, document
    return document


def holds(document: Any, example: Any) -> bool:
    """Return whether a document has the keys of an example, all the way down."""
    if isinstance(example, dict):
        return isinstance(document, dict) and all(
            name in document and holds(document[name], example[name]) for name in example
        )
    if isinstance(example, list) and example:
        return any(holds(one, example[0]) for one in document)
    return example is None or document is None or isinstance(document, type(example))


def test_examples_are_answered_as_the_page_says(engine: RecordingEngine) -> None:
    """In their order: look, then act, then look after a review."""
    run, other = doubted(engine.ledger), doubted(engine.ledger)
    [_, review] = ask(engine, "GET", "/reviews")[1]["reviews"]
    assert review["run_id"] == other.id
    version = ask(engine, "GET", f"/runs/{run.id}/actions")[1]["version"]
    names = {"RUN": run.id, "VERSION": version, "REVIEW": str(review["id"])}
    blocks = re.findall(r"```(console|json)\n(.*?)```", PAGE.partition("## What is refused")[0], re.DOTALL)
    answered = None
    for language, text in blocks:
        if language == "json":
            assert holds(answered, json.loads(text)), text
            continue
        for command in text.replace("\\\n", "").splitlines():
            answered = send(engine, command.removeprefix("$ "), names)
    assert len(blocks) == 12


def test_tables_are_those_of_the_code() -> None:
    """Every path with its summary, every code with its status."""
    paths = re.findall(r"^\| ([A-Z]+) \| `(\S+)` \| (.+) \|$", PAGE, re.MULTILINE)
    served = describe(server_url="/api")["paths"]
    assert paths == [
        (method.upper(), path, one["summary"]) for path, methods in served.items() for method, one in methods.items()
    ]
    codes = re.findall(r"^\| (\d+) \| `(\w+)` \|", PAGE, re.MULTILINE)
    assert sorted(codes) == sorted((str(STATUSES[code]), code.value) for code in Code)

"""`backout runs watch --all` against real ledgers: the lines, the cursor, and how it ends."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from backout.ledger import schema
from backout.ledger.session import Ledger
from tests.support.commands import call
from tests.support.runs import RecordedRun
from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[2]
WATCH = ("runs", "watch", "--all")


@pytest.fixture(params=["sqlite_url", "postgres_url"])
def url(request: pytest.FixtureRequest) -> str:
    """An empty database of each kind."""
    found: str = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def ledger(url: str) -> Iterator[Ledger]:
    opened = Ledger(url)
    schema.upgrade(opened)
    yield opened
    opened.dispose()


def test_everything_that_is_there_comes_as_lines(ledger: Ledger, url: str) -> None:
    """With run and pipeline in front, in the order in which it happened; and it ends well when no more comes."""
    first, second = RecordedRun(ledger=ledger), RecordedRun(ledger=ledger)
    result = call(*WATCH, "--after", "0", "--timeout", "0", url=url)
    lines = result.stdout.splitlines()
    assert result.exit_code == 0
    assert [line.split("  ")[:2] for line in lines] == [
        [run.id, "fulfil_order"] for run in (first, first, second, second)
    ]
    assert "run created  by" in lines[0]


def test_json_lines_name_what_the_entries_mean(ledger: Ledger, url: str) -> None:
    """A program reads names of the life of a run, and need not know how the ledger says it."""
    RecordedRun(ledger=ledger).roll_back_order()
    result = call(*WATCH, "--after", "0", "--timeout", "0", "--json", url=url)
    documents = [json.loads(line) for line in result.stdout.splitlines()]
    assert [list(document) for document in documents] == [["entry", "pipeline", "lifecycle", "cursor"]] * len(documents)
    names = [name for document in documents for name in document["lifecycle"]]
    assert names[:2] == ["run_created", "run_started"]
    assert names[-2:] == ["rollback_succeeded", "run_rolled_back"]
    assert documents[-1]["cursor"] == documents[-1]["entry"]["id"]


def test_last_cursor_leads_on(ledger: Ledger, url: str) -> None:
    """Two calls one after the other miss nothing and tell nothing twice."""
    RecordedRun(ledger=ledger)
    lines = call(*WATCH, "--after", "0", "--timeout", "0", "--json", url=url).stdout.splitlines()
    cursor = json.loads(lines[-1])["cursor"]
    assert call(*WATCH, "--after", str(cursor), "--timeout", "0", url=url).stdout == ""
    run = RecordedRun(ledger=ledger)
    more = call(*WATCH, "--after", str(cursor), "--timeout", "0", url=url).stdout
    assert [line.split("  ")[0] for line in more.splitlines()] == [run.id, run.id]


def test_one_pipeline_may_be_asked_for(ledger: Ledger, url: str) -> None:
    """The others' entries are left out."""
    RecordedRun(ledger=ledger)
    assert call(*WATCH, "--after", "0", "--timeout", "0", "--pipeline", "another", url=url).stdout == ""
    assert call(*WATCH, "--after", "0", "--timeout", "0", "--pipeline", "fulfil_order", url=url).stdout


def test_it_streams_from_now_on_until_it_is_interrupted(ledger: Ledger, url: str, tmp_path: Path) -> None:
    """Each line comes when its entry is committed; Ctrl-C ends it with a word about how to go on."""
    before = RecordedRun(ledger=ledger)
    lines = tmp_path / "lines"
    with lines.open("w") as output:
        watching = subprocess.Popen(
            [sys.executable, "-m", "backout.cli", "--database", url, *WATCH, "--json"],
            cwd=ROOT,
            stdout=output,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert watching.stderr is not None

    def has_written() -> bool:
        # It takes a moment to start, and tells of what is created after that.
        RecordedRun(ledger=ledger)
        assert watching.poll() is None
        return "\n" in lines.read_text()

    with watching, watching.stderr as words:
        wait_until(has_written, 30, "a line is written while it goes on")
        watching.send_signal(signal.SIGINT)
        said = words.read()
    assert json.loads(lines.read_text().splitlines()[0])["entry"]["run_id"] != before.id
    assert watching.returncode == 130
    assert said.startswith("Stopped watching; go on with --after ")
    assert "Traceback" not in said


@pytest.mark.parametrize(
    "arguments",
    [
        ("runs", "watch"),
        ("runs", "watch", "0198", "--all"),
        ("runs", "watch", "0198", "--after", "3"),
        ("runs", "watch", "0198", "--pipeline", "fulfil_order"),
    ],
)
def test_what_cannot_be_meant_is_refused(arguments: tuple[str, ...], sqlite_url: str) -> None:
    """Either one run or all of them, and the options of each."""
    result = call(*arguments, url=sqlite_url)
    assert result.exit_code == 2
    assert "--all" in result.stderr

"""`backout ledger purge` and `archive` against real ledgers: what they show, what they do, and what is in the file."""

from __future__ import annotations

import gzip
import json
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from backout.cli.ledger_choosing import sum_up
from backout.events import Event
from backout.ledger import schema
from backout.ledger.retention import Purged
from backout.ledger.session import Ledger
from backout.pipelines.contract import Plan
from backout.states import RunState, StepState
from tests.support.commands import call, read_json
from tests.support.ledgers import LONG_AGO, create_run
from tests.support.old_runs import OPEN, count_rows, find_ids, put_entries, put_old_run
from tests.support.runs import contract

NO_ROWS = {"run": 0, "step": 0, "entry": 0, "review": 0}
PLAN = Plan(pipeline="pay", steps=(contract("charge", sensitive=("token",)),), sensitive=("card",))


@pytest.fixture(params=["sqlite_url", "postgres_url", "mariadb_url"])
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


def put_some(ledger: Ledger) -> None:
    """Two runs that can go, one that cannot, one that is young, and a message that was refused."""
    put_old_run(ledger, 1, source_event_id="form-1")
    put_old_run(ledger, 2, state=RunState.FAILED)
    put_old_run(ledger, 3, review=OPEN)
    create_run(ledger)
    with ledger.transaction() as connection:
        put_entries(connection, None, events=[Event.MESSAGE_REFUSED])


def read_lines(path: Path) -> list[Any]:
    data = path.read_bytes()
    text = gzip.decompress(data) if path.suffix == ".gz" else data
    return [json.loads(line) for line in text.decode().splitlines()]


class TestPurge:
    def test_it_shows_and_changes_nothing_unless_told(self, ledger: Ledger, url: str) -> None:
        """What would go, what stays and why, what is lost, and how to do it."""
        put_some(ledger)
        before = count_rows(ledger)
        result = call("ledger", "purge", "--older-than", "90d", url=url)
        assert result.exit_code == 0
        shown = " ".join(result.stdout.split())
        for fact in (
            "2 runs",
            "would be removed",
            "1 succeeded",
            "1 failed",
            "2 steps, 4 entries and 2 reviews",
            "1 entry of no run",
            "stay: 1, because of a review that nobody has decided",
            "with a source event: 1; if one is enqueued again, a new run starts",
            "--yes",
        ):
            assert fact in shown, fact
        assert count_rows(ledger) == before

    def test_it_does_it_if_told(self, ledger: Ledger, url: str) -> None:
        """And tells what it has done; a second time there is nothing to do."""
        put_some(ledger)
        result = call("ledger", "purge", "--older-than", "90d", "--yes", url=url)
        assert (result.exit_code, "would" in result.stdout) == (0, False)
        assert count_rows(ledger) == {"run": 2, "step": 2, "entry": 4, "review": 1}
        assert "No run that ended before" in call("ledger", "purge", "--older-than", "90d", "--yes", url=url).stdout

    def test_preview_wins(self, ledger: Ledger, url: str) -> None:
        """Whoever puts it in front of a command that is in a crontab changes nothing."""
        put_some(ledger)
        before = count_rows(ledger)
        call("ledger", "purge", "--older-than", "90d", "--yes", "--preview", url=url)
        assert count_rows(ledger) == before

    def test_json_has_the_same_keys_before_and_after(self, ledger: Ledger, url: str) -> None:
        """For a job that watches how much goes."""
        put_some(ledger)
        before = read_json(call("ledger", "purge", "--older-than", "90d", "--json", url=url))
        after = read_json(call("ledger", "purge", "--older-than", "90d", "--json", "--yes", url=url))
        assert (before.pop("is_preview"), after.pop("is_preview")) == (True, False)
        assert before.pop("finished_before") <= after.pop("finished_before")
        assert before == after
        assert after == {
            "is_cut_off": False,
            "runs": 2,
            "states": {"succeeded": 1, "failed": 1},
            "steps": 2,
            "entries": 4,
            "reviews": 2,
            "source_events": 1,
            "keys": 0,
            "stray_entries": 1,
            "partitions": 0,
            "kept": {"open_review": 1},
        }

    def test_narrowed_it_leaves_the_rest_alone(self, ledger: Ledger, url: str) -> None:
        """By pipeline and state, and refused messages stay: they are of no pipeline."""
        put_some(ledger)
        call("ledger", "purge", "--older-than", "90d", "--state", "failed", "--yes", url=url)
        assert count_rows(ledger) == {"run": 3, "step": 3, "entry": 7, "review": 2}
        call("ledger", "purge", "--older-than", "90d", "--pipeline", "nothing", "--yes", url=url)
        assert count_rows(ledger)["run"] == 3

    def test_keys_are_kept_unless_told(self, ledger: Ledger, url: str) -> None:
        """What is lost is said before it is."""
        put_old_run(ledger, 1, step={"exclusive_key": "order-1"})
        assert "--forget-keys" in call("ledger", "purge", "--older-than", "90d", "--yes", url=url).stdout
        assert len(find_ids(ledger)) == 1
        result = call("ledger", "purge", "--older-than", "90d", "--forget-keys", "--yes", url=url)
        assert "with an idempotency key: 1" in result.stdout
        assert find_ids(ledger) == []

    @pytest.mark.parametrize("arguments", [(), ("--older-than", "soon"), ("--older-than", "1d", "--state", "running")])
    def test_it_asks_for_an_age_and_final_states(self, ledger: Ledger, url: str, arguments: tuple[str, ...]) -> None:
        """Nothing is guessed where rows are removed."""
        assert call("ledger", "purge", *arguments, url=url).exit_code == 2


def test_what_was_told_before_an_interrupt_is_told() -> None:
    """Ctrl-C ends it between two batches or takes one back; those before it are done."""

    def interrupted() -> Iterator[Purged]:
        yield Purged(runs=2, entries=4)
        raise KeyboardInterrupt

    assert sum_up(interrupted(), "Removing", as_json=True) == (Purged(runs=2, entries=4), True)


class TestArchive:
    @pytest.mark.parametrize("name", ["runs.jsonl", "runs.jsonl.gz"])
    def test_runs_are_in_the_file_and_not_in_the_ledger(
        self, ledger: Ledger, url: str, tmp_path: Path, name: str
    ) -> None:
        """One run in each line with all its rows, in several batches too."""
        ids = [put_old_run(ledger, number, source_event_id=f"form-{number}") for number in range(5)]
        file = tmp_path / name
        result = call("ledger", "archive", str(file), "--older-than", "90d", "--batch", "2", "--yes", url=url)
        assert (result.exit_code, str(file) in result.stdout.replace("\n", "")) == (0, True)
        lines = read_lines(file)
        assert [line["run"]["id"] for line in lines] == ids
        for line in lines:
            assert (line["format"], line["version"], line["is_masked"]) == ("backout-run", 1, True)
            assert [entry["event"] for entry in line["entries"]] == ["attempt_started", "step_succeeded"]
            assert [row["state"] for row in line["steps"]] == ["succeeded"]
            assert [review["decision"] for review in line["reviews"]] == ["done"]
            assert set(line["run"]) >= {"pipeline", "input", "source_event_id", "finished_at"}
        assert count_rows(ledger) == NO_ROWS
        assert file.stat().st_mode & 0o077 == 0

    def test_preview_writes_no_file(self, ledger: Ledger, url: str, tmp_path: Path) -> None:
        """Without --yes nothing is done at all."""
        put_old_run(ledger, 1)
        file = tmp_path / "runs.jsonl"
        result = call("ledger", "archive", str(file), "--older-than", "90d", url=url)
        assert "would be written and removed" in result.stdout
        assert not file.exists()
        assert len(find_ids(ledger)) == 1

    def test_export_only_removes_nothing(self, ledger: Ledger, url: str, tmp_path: Path) -> None:
        """The same file, and the ledger as it was."""
        put_some(ledger)
        before, file = count_rows(ledger), tmp_path / "runs.jsonl"
        arguments = (str(file), "--older-than", "90d", "--export-only", "--yes", "--json")
        found = read_json(call("ledger", "archive", *arguments, url=url))
        assert (found["runs"], found["is_export"], found["file"]) == (2, True, str(file))
        assert len(read_lines(file)) == 2
        assert count_rows(ledger) == before

    def test_file_that_is_there_is_left_alone(self, ledger: Ledger, url: str, tmp_path: Path) -> None:
        """An archive of yesterday is not overwritten, and nothing is removed."""
        put_old_run(ledger, 1)
        file = tmp_path / "runs.jsonl"
        file.write_text("yesterday")
        result = call("ledger", "archive", str(file), "--older-than", "90d", "--yes", url=url)
        assert (result.exit_code, "is there already" in result.stderr) == (2, True)
        assert file.read_text() == "yesterday"
        assert len(find_ids(ledger)) == 1

    def test_what_cannot_be_written_stays(self, ledger: Ledger, url: str, tmp_path: Path) -> None:
        """A folder that is not there: an error, and all runs are still there."""
        put_old_run(ledger, 1)
        result = call("ledger", "archive", str(tmp_path / "no" / "runs"), "--older-than", "90d", "--yes", url=url)
        assert (result.exit_code, "still in the ledger" in result.stderr) == (1, True)
        assert len(find_ids(ledger)) == 1

    def test_full_disk_keeps_the_runs_of_the_batch(self, postgres_url: str, tmp_path: Path) -> None:
        """What was written before it was full is removed, and what was not is still in the ledger."""
        ledger, file = Ledger(postgres_url), tmp_path / "runs.jsonl"
        schema.upgrade(ledger)
        ids = [put_old_run(ledger, number, plan=PLAN.as_json, input={"id": "x" * 6_000}) for number in range(3)]
        command = ["ledger", "archive", str(file), "--older-than", "90d", "--batch", "1", "--yes"]
        ended = subprocess.run(
            [sys.executable, "-m", "backout", "--database", postgres_url, *command],
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000)),
            capture_output=True,
            text=True,
            check=False,
        )
        assert (ended.returncode, "still in the ledger" in ended.stderr) == (1, True), ended.stderr
        assert find_ids(ledger) == ids[1:]
        assert file.read_text().startswith('{"format":"backout-run"')
        ledger.dispose()

    def test_sensitive_values_are_masked(self, ledger: Ledger, url: str, tmp_path: Path) -> None:
        """What nobody may see is not in the file either; the rest of the run is."""
        put_old_run(
            ledger,
            1,
            pipeline="pay",
            plan=PLAN.as_json,
            input={"id": "order-1", "card": "4711-0815"},
            error_summary="no paper for card 4711-0815",
            step={"state": StepState.SUCCEEDED, "output": {"token": "tok_1234", "amount": 42}},
        )
        file = tmp_path / "runs.jsonl"
        call("ledger", "archive", str(file), "--older-than", "90d", "--yes", url=url)
        [line] = read_lines(file)
        assert "4711-0815" not in file.read_text()
        assert "tok_1234" not in file.read_text()
        assert line["run"]["input"] == {"id": "order-1", "card": "[masked]"}
        assert line["steps"][0]["output"]["amount"] == 42
        assert line["is_masked"] is True
        assert line["plan"]["pipeline"] == "pay"
        assert line["run"]["finished_at"] == LONG_AGO.strftime("%Y-%m-%dT%H:%M:%S.%fZ")

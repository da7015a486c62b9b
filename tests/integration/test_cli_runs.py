"""`backout runs` and `backout ledger` against real ledgers: what they print, their JSON and their exit codes."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete

from backout.cli.main import backout
from backout.identifiers import new_run_id
from backout.ledger import schema
from backout.ledger.session import Ledger
from backout.states import ReviewReason, RollbackOutcome
from tests.support.commands import call, read_json
from tests.support.runs import RecordedRun

ROOT = Path(__file__).parents[2]


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


# runs list


def test_empty_ledger_says_how_to_start(ledger: Ledger, url: str) -> None:
    """A first look is not an error."""
    result = call("runs", "list", url=url)
    assert result.exit_code == 0
    assert "no runs yet" in result.stdout
    assert read_json(call("runs", "list", "--json", url=url)) == {"runs": [], "counts": {}, "next_before": None}


def test_list_shows_the_newest_first_with_counts(ledger: Ledger, url: str) -> None:
    """And how to see the older ones."""
    old, new = RecordedRun(ledger=ledger), RecordedRun(ledger=ledger, subject="customer-18")
    old.roll_back_order()
    result = call("runs", "list", url=url)
    assert result.exit_code == 0
    assert result.stdout.index("○ pending") < result.stdout.index("↩ rolled back")
    assert "2 runs in the ledger: ○ 1 pending, ↩ 1 rolled back" in result.stdout
    page = call("runs", "list", "--limit", "1", url=url).stdout
    assert f"Older ones: --before {new.id}" in page
    assert "customer-17" not in page


def test_list_can_be_paged_as_json(ledger: Ledger, url: str) -> None:
    """`next_before` leads from page to page, and is null on the last."""
    ids = [RecordedRun(ledger=ledger).id for _ in range(3)]
    first = read_json(call("runs", "list", "--limit", "2", "--json", url=url))
    assert first["counts"] == {"pending": 3}
    second = read_json(call("runs", "list", "--limit", "2", "--before", first["next_before"], "--json", url=url))
    assert second["next_before"] is None
    assert sorted(run["id"] for run in [*first["runs"], *second["runs"]]) == sorted(ids)


def test_list_can_be_narrowed(ledger: Ledger, url: str) -> None:
    """By state, pipeline, subject, and by who must act."""
    asking, _ = RecordedRun(ledger=ledger, subject="ines"), RecordedRun(ledger=ledger)
    asking.succeed("check_address", "reserve_stock")
    asking.ask_person("charge_card", ReviewReason.MAY_HAVE_DUPLICATED)

    def found(*options: str) -> list[str]:
        return [run["id"] for run in read_json(call("runs", "list", *options, "--json", url=url))["runs"]]

    assert found("--needs-person") == found("--search", "ines") == found("--state", "in_review") == [asking.id]
    assert len(found("--state", "in_review", "--state", "pending")) == 2
    assert found("--pipeline", "another") == []
    assert "No run fits" in call("runs", "list", "--search", "nobody", url=url).stdout


def test_list_shows_whole_ids_on_request(ledger: Ledger, url: str) -> None:
    """For copying."""
    run = RecordedRun(ledger=ledger)
    assert run.id not in call("runs", "list", url=url).stdout
    assert run.id in call("runs", "list", "--full", url=url).stdout


# pipelines


def test_pipelines_show_rates_open_runs_and_steps(ledger: Ledger, url: str) -> None:
    """For people with words, for programs with numbers."""
    assert "no runs yet" in call("pipelines", url=url).stdout
    RecordedRun(ledger=ledger).roll_back_order()
    waiting = RecordedRun(ledger=ledger)
    shown = " ".join(call("pipelines", "--since", "2h", "--utc", url=url).stdout.split())
    for fact in (
        "fulfil_order",
        "enqueued 2 runs",
        "↩ 100 % rolled back (1)",
        f"the oldest {waiting.id}",
        "charge_card",
    ):
        assert fact in shown, fact
    [found] = read_json(call("pipelines", "--json", url=url))["pipelines"]
    assert (found["name"], found["enqueued"], found["finished"]) == ("fulfil_order", 2, 1)
    assert found["shares"] == {"succeeded": 0.0, "rolled_back": 1.0, "failed": 0.0, "cancelled": 0.0}
    assert found["open_runs"][0]["oldest"] == waiting.id
    assert {step["direction"] for step in found["steps"]} == {"forward", "compensation"}


# runs show


def test_show_tells_what_happened(ledger: Ledger, url: str) -> None:
    """A run that was rolled back, found by the beginning of its id, with its whole story."""
    run = RecordedRun(ledger=ledger, source_event="form-8812")
    run.roll_back_order()
    result = call("runs", "show", run.id[:13], "--entries", "--utc", url=url)
    assert result.exit_code == 0
    shown = " ".join(result.stdout.split())
    for fact in (
        "book_courier failed at attempt 3 (no courier in that area); 3 │ │ steps were undone.",
        "↩ rolled back, rollback complete",
        "source event form-8812",
        "hold h_17, charge ch_881",
        "3 of 3",
        "· send_receipt never started",
        "✓ charge_card undone",
        "refund the charge",
        "rollback finished by engine outcome complete",
        "times in UTC",
    ):
        assert fact in shown


def test_show_json_holds_the_whole_record(ledger: Ledger, url: str) -> None:
    """The shape is documented and stable."""
    run = RecordedRun(ledger=ledger)
    run.roll_back_order()
    document = read_json(call("runs", "show", run.id, "--json", "--entries", url=url))
    assert list(document) == [
        "summary",
        "customer_message",
        "run",
        "plan",
        "steps",
        "reviews",
        "now",
        "entries",
    ]
    assert document["customer_message"] == "Your request was reversed."
    assert document["run"]["state"] == "rolled_back"
    assert document["run"]["external_ids"] == {"hold": "h_17", "charge": "ch_881"}
    assert document["run"]["created_at"].endswith("Z")
    assert [step["name"] for step in document["plan"]["steps"]][:2] == ["check_address", "reserve_stock"]
    undone = [row["step"] for row in document["steps"] if row["state"] == "undone"]
    assert undone == ["reserve_stock", "charge_card"]
    assert "claim_token" not in document["steps"][0]
    assert document["entries"][0]["event"] == "run_created"
    assert "entries" not in read_json(call("runs", "show", run.id, "--json", url=url))


def test_show_writes_a_picture(ledger: Ledger, url: str, tmp_path: Path) -> None:
    """The same picture as SVG, for documents."""
    run = RecordedRun(ledger=ledger)
    result = call("runs", "show", run.id, "--svg", str(tmp_path / "run.svg"), url=url)
    assert (result.exit_code, result.stdout) == (0, "")
    assert (tmp_path / "run.svg").read_text(encoding="utf-8").startswith("<svg")


@pytest.mark.parametrize("given", ["", "zzz", "0", "019aa9c0-d900-7aa5-9931-e0eb6d687b25", "%"])
def test_unknown_run_is_not_found(ledger: Ledger, url: str, given: str) -> None:
    """The message says where the ids are; a beginning that many runs share names none of them."""
    for _ in range(2):
        RecordedRun(ledger=ledger)
    result = call("runs", "show", given, url=url)
    assert (result.exit_code, result.stdout) == (3, "")
    assert "`backout runs list` shows the ids" in result.stderr
    assert "Traceback" not in result.stderr


def test_errors_are_json_where_json_was_asked_for(ledger: Ledger, url: str) -> None:
    """On standard error, so that standard output holds results only."""
    result = call("runs", "show", new_run_id(), "--json", url=url)
    assert (result.exit_code, result.stdout) == (3, "")
    assert json.loads(result.stderr)["error"]["code"] == "unknown_run"


def test_partial_rollback_is_shown_as_failed(ledger: Ledger, url: str) -> None:
    """A run that could not be undone in full never looks as if it had been."""
    run = RecordedRun(ledger=ledger)
    run.succeed("check_address", "reserve_stock", "charge_card")
    run.fail("book_courier", "no courier")
    run.undo("book_courier", "charge_card")
    run.finish_rollback(RollbackOutcome.PARTIAL)
    shown = call("runs", "show", run.id, url=url).stdout
    assert "✗ failed, rollback partial" in shown
    assert "1 step still to be undone (reserve_stock)" in " ".join(shown.replace("│", "").split())


# runs watch


def test_watch_writes_the_entries_of_a_run_that_ended(ledger: Ledger, url: str) -> None:
    """One line each, then what happened; the exit code says that it did not go well."""
    run = RecordedRun(ledger=ledger)
    run.roll_back_order()
    result = call("runs", "watch", run.id, url=url)
    lines = result.stdout.splitlines()
    assert result.exit_code == 1
    assert "run created" in lines[0]
    assert lines[-1].startswith("fulfil_order was rolled back")


def test_watch_ends_well_with_a_run_that_succeeded(ledger: Ledger, url: str) -> None:
    """As JSON: a line for each entry, and the run at the end."""
    run = RecordedRun(ledger=ledger)
    run.succeed("check_address", "reserve_stock", "charge_card", "book_courier", "send_receipt")
    result = call("runs", "watch", run.id, "--json", url=url)
    documents = [json.loads(line) for line in result.stdout.splitlines()]
    assert result.exit_code == 0
    assert [document["entry"]["event"] for document in documents[:2]] == ["run_created", "step_ready"]
    assert documents[-1]["run"]["state"] == "succeeded"


def test_watch_ends_with_a_run_that_waits_for_a_person(ledger: Ledger, url: str) -> None:
    """Settled is not ended: the exit code tells them apart."""
    run = RecordedRun(ledger=ledger)
    run.succeed("check_address")
    run.ask_person("reserve_stock", ReviewReason.CONFIRMATION_MISSING)
    assert call("runs", "watch", run.id, url=url).exit_code == 5


def test_watch_gives_up_when_the_time_is_up(ledger: Ledger, url: str) -> None:
    """The run goes on, and the entries so far were written."""
    run = RecordedRun(ledger=ledger)
    result = call("runs", "watch", run.id, "--timeout", "0", url=url)
    assert result.exit_code == 4
    assert "run created" in result.stdout
    assert "still pending after 0 s" in result.stderr


def test_watch_sees_a_run_end(ledger: Ledger, url: str) -> None:
    """Another process brings the run to its end while it is watched."""
    run = RecordedRun(ledger=ledger)
    watching = subprocess.Popen(
        [sys.executable, "-m", "backout.cli", "--database", url, "runs", "watch", run.id, "--timeout", "60"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert watching.stdout is not None
    with watching, watching.stdout as lines:
        assert "run created" in lines.readline()
        run.roll_back_order()
        assert lines.read().splitlines()[-1].startswith("fulfil_order was rolled back")
    assert watching.returncode == 1


# ledger


def test_ledger_is_upgraded_once(url: str) -> None:
    """A second call changes nothing and says so."""
    before = read_json(call("ledger", "current", "--json", url=url))
    assert before["revision"] is None
    first = read_json(call("ledger", "upgrade", "--json", url=url))
    assert (first["before"], first["after"], first["changed"]) == (None, before["expected"], True)
    assert "already" in call("ledger", "upgrade", url=url).stdout
    assert read_json(call("ledger", "current", "--json", url=url))["revision"] == before["expected"]


def test_ledger_is_verified(url: str) -> None:
    """Exit code 1 and the command that mends it, until it is mended."""
    result = call("ledger", "verify", url=url)
    assert result.exit_code == 1
    assert "backout ledger upgrade" in result.stdout
    call("ledger", "upgrade", url=url)
    assert call("ledger", "verify", url=url).exit_code == 0
    assert read_json(call("ledger", "verify", "--json", url=url))["ok"] is True


def test_ledger_that_was_changed_by_hand_is_found_out(ledger: Ledger, url: str) -> None:
    """The revision alone does not show it."""
    with ledger.transaction() as connection:
        connection.exec_driver_sql("DROP INDEX ix_backout_run_subject")
    result = call("ledger", "verify", url=url)
    assert result.exit_code == 1
    assert "ix_backout_run_subject" in result.stdout
    document = json.loads(call("ledger", "verify", "--json", url=url).stdout)
    assert document["ok"] is False
    assert len(document["differences"]) == 1


def test_ledger_of_another_schema_is_refused(url: str) -> None:
    """Before anything is read, with the command that mends it."""
    result = call("runs", "list", url=url)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "backout ledger upgrade" in result.stderr


# how a ledger is named, and what it completes


def test_url_comes_from_the_environment(ledger: Ledger, url: str) -> None:
    """As from the option."""
    assert call("runs", "list", BACKOUT_DATABASE_URL=url).exit_code == 0


def test_run_ids_and_pipelines_are_completed(ledger: Ledger, url: str) -> None:
    """Where the ledger can be reached."""
    run = RecordedRun(ledger=ledger)
    completer = ShellComplete(backout, {}, "backout", "_BACKOUT_COMPLETE")

    def complete(*arguments: str, incomplete: str) -> list[str]:
        found = completer.get_completions(["--database", url, *arguments], incomplete)
        return [item.value for item in found]

    assert complete("runs", "show", incomplete=run.id[:6]) == [run.id]
    assert complete("runs", "watch", incomplete="zzz") == []
    assert complete("runs", "list", "--pipeline", incomplete="fulfil") == ["fulfil_order"]

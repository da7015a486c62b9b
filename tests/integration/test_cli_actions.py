"""The verbs by hand on the command line, against real ledgers: what is shown, asked, refused and done."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from click.shell_completion import ShellComplete
from click.testing import Result

from backout.cli.main import backout
from backout.ledger import queries, schema
from backout.ledger.records import ReviewRecord, RunRecord
from backout.ledger.session import Ledger
from backout.states import ReviewReason, RollbackOutcome
from tests.support.commands import call, read_json
from tests.support.runs import RecordedRun
from tests.support.terminal import Terminal

WHY = ("--reason", "the till is open", "--actor", "ada")
REFUSED, CHANGED, NOT_FOUND, USAGE, TIMED_OUT = 6, 7, 3, 2, 4


@pytest.fixture(params=["sqlite_url"])
def url(request: pytest.FixtureRequest) -> str:
    """An empty database: SQLite, unless a test asks for PostgreSQL too."""
    found: str = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def ledger(url: str) -> Iterator[Ledger]:
    opened = Ledger(url)
    schema.upgrade(opened)
    yield opened
    opened.dispose()


def parked(ledger: Ledger, **values: Any) -> RecordedRun:
    """Return a run that waits before its second step."""
    run = RecordedRun(ledger=ledger, **values)
    run.succeed("check_address")
    run.park("the shop is closed")
    return run


def in_doubt(ledger: Ledger, **values: Any) -> RecordedRun:
    """Return a run whose second step may have happened."""
    run = RecordedRun(ledger=ledger, **values)
    run.succeed("check_address")
    run.ask_person("reserve_stock", ReviewReason.CONFIRMATION_MISSING)
    return run


def half_undone(ledger: Ledger) -> RecordedRun:
    """Return a run that failed, and whose second undo failed as well."""
    run = RecordedRun(ledger=ledger)
    run.succeed("check_address", "reserve_stock", "charge_card")
    run.fail("book_courier", "no courier")
    run.undo("book_courier", "charge_card")
    run.undo("reserve_stock")
    run.finish_rollback(RollbackOutcome.COMPLETE)
    return run


def find(ledger: Ledger, run: RecordedRun) -> RunRecord:
    record = ledger.read(lambda connection: queries.find_run(connection, run.id))
    assert record is not None
    return record


def review_of(ledger: Ledger, run: RecordedRun) -> ReviewRecord:
    return ledger.read(lambda connection: queries.list_reviews(connection, run.id))[-1]


def words(result: Result) -> str:
    return " ".join((result.stdout + result.stderr).split())


# looking


def test_next_says_what_is_safe_with_the_exact_command(ledger: Ledger, url: str) -> None:
    """Somebody who knows none of the commands can type one of them."""
    run = in_doubt(ledger)
    shown = call("runs", "next", run.id, BACKOUT_DATABASE_URL=url)
    review = review_of(ledger, run)
    assert shown.exit_code == 0
    assert shown.stdout.index("Safe to do now") < shown.stdout.index("Only if you know")
    assert shown.stdout.index("Only if you know") < shown.stdout.index("Not possible now")
    for command in (
        f"  backout runs rollback {run.id}\n",
        f"  backout reviews resolve {review.id} done --output JSON\n",
        f"  backout reviews resolve {review.id} not-done\n",
    ):
        assert command in shown.stdout
    assert "runs retry: " in shown.stdout
    assert "may have happened" in words(shown)


def test_next_as_json(ledger: Ledger, url: str) -> None:
    """The shape is documented and stable; the version is what `--expecting` takes."""
    run = parked(ledger)
    document = read_json(call("runs", "next", run.id[:20], "--json", url=url))
    assert list(document) == ["run_id", "state", "version", "actions"]
    assert document["state"] == "parked"
    first = document["actions"][0]
    assert list(first) == ["verb", "step", "review_id", "decision", "is_possible", "is_safe", "why", "command"]
    assert [action["is_possible"] for action in document["actions"]] == sorted(
        (action["is_possible"] for action in document["actions"]), reverse=True
    )
    done = read_json(
        call("runs", "cancel", run.id, *WHY, "--expecting", document["version"], "--yes", "--json", url=url)
    )
    assert done["state"] == "cancelled"


def test_commands_are_those_that_mean_the_same_ledger(ledger: Ledger, url: str) -> None:
    """Options that were typed are repeated; a URL that may hold a password is not shown."""
    run = parked(ledger)
    shown = call("runs", "next", run.id, url=url).stdout
    named = url if "@" not in url else "URL"
    assert f"backout --database {named} runs resume {run.id}" in shown or f"runs retry {run.id}" in shown
    assert url in shown or "--database URL" in shown


def test_show_ends_with_what_can_be_done(ledger: Ledger, url: str) -> None:
    """Only what is possible, in one sentence each."""
    run = parked(ledger)
    shown = call("runs", "show", run.id, BACKOUT_DATABASE_URL=url).stdout
    assert f"backout runs rollback {run.id}" in shown
    assert "Not possible" not in shown


def test_preview_changes_nothing_and_says_what_would_run(ledger: Ledger, url: str) -> None:
    """The tasks in order with their names, what they are given, what is missing, and where the run leads."""
    run = RecordedRun(ledger=ledger)
    run.succeed("check_address")
    run.succeed("reserve_stock", ids={"hold": "h_17"})
    run.park("the shop is closed")
    result = call("runs", "rollback", run.id, "--preview", url=url)
    shown = words(result)
    assert result.exit_code == 0
    for fact in (
        "would be ↺ rolling back",
        "1. undo reserve_stock: release the stock",
        "task shop.pipelines.undo",
        "with external ids hold h_17",
        f"with idempotency key {run.id}:reserve_stock:undo",
        "Nothing was changed.",
    ):
        assert fact in shown
    assert find(ledger, run).state == "parked"


def test_preview_of_what_would_be_refused(ledger: Ledger, url: str) -> None:
    """Says so with the remedy, and ends with the exit code of a refusal."""
    run = in_doubt(ledger)
    result = call("runs", "resume", run.id, "--preview", url=url)
    assert result.exit_code == REFUSED
    assert "It would be refused" in result.stdout
    assert "`backout reviews resolve`" in words(result)
    document = call("runs", "resume", run.id, "--preview", "--json", url=url)
    assert document.exit_code == REFUSED
    assert json.loads(document.stdout)["would_be_done"] is False
    assert json.loads(document.stdout)["refusal"]["remedy"]


def test_preview_as_json(ledger: Ledger, url: str) -> None:
    """The shape is documented and stable."""
    document = read_json(call("runs", "rollback", parked(ledger).id, "--preview", "--json", url=url))
    assert list(document) == [
        "would_be_done",
        "verb",
        "run_id",
        "state",
        "version",
        "refusal",
        "leads_to",
        "tasks",
        "notes",
        "is_safe",
        "warning",
        "command",
    ]


# acting: each verb


@pytest.mark.parametrize(
    ("command", "state"),
    [("retry", "running"), ("resume", "running"), ("skip", "running"), ("cancel", "cancelled")],
)
def test_parked_run_is_brought_on(ledger: Ledger, url: str, command: str, state: str) -> None:
    """The state is the one after it; who and why are in the record."""
    run = parked(ledger)
    result = call("runs", command, run.id, *WHY, "--yes", url=url)
    assert result.exit_code == 0, result.stderr
    assert "✓ Done" in result.stdout
    assert find(ledger, run).state == state
    entries = ledger.read(lambda connection: queries.list_entries(connection, run.id))
    assert ("ada", "the till is open") in [(entry.actor, entry.reason) for entry in entries]


def test_run_is_paused_and_resumed(ledger: Ledger, url: str) -> None:
    """Both need no `--yes`: they are safe."""
    run = RecordedRun(ledger=ledger)
    assert call("runs", "pause", run.id, *WHY, url=url).exit_code == 0
    assert find(ledger, run).state == "paused"
    done = read_json(call("runs", "resume", run.id, *WHY, "--json", url=url))
    assert (done["verb"], done["state"], done["actor"]) == ("resume", "running", "ada")
    assert list(done) == ["verb", "run_id", "state", "tasks", "notes", "is_sent", "actor", "reason", "sending"]
    assert "sweeper sends it" in done["sending"]


def test_run_is_rolled_back_to_a_step(ledger: Ledger, url: str) -> None:
    """Only what came after it is undone."""
    run = RecordedRun(ledger=ledger)
    run.succeed("check_address", "reserve_stock", "charge_card")
    run.park("the shop is closed")
    result = call("runs", "rollback", run.id, "--to-step", "reserve_stock", *WHY, "--json", url=url)
    assert [task["step"] for task in read_json(result)["tasks"]] == ["charge_card"]
    assert find(ledger, run).state == "rolling_back"


def test_cancel_can_undo(ledger: Ledger, url: str) -> None:
    """`cancel --rollback` is a rollback."""
    run = RecordedRun(ledger=ledger)
    run.succeed("check_address", "reserve_stock")
    run.park("the shop is closed")
    assert call("runs", "cancel", run.id, "--rollback", *WHY, url=url).exit_code == 0
    assert find(ledger, run).state == "rolling_back"


def test_paused_rollback_is_continued(ledger: Ledger, url: str) -> None:
    """From where it stopped."""
    run = RecordedRun(ledger=ledger)
    run.succeed("check_address", "reserve_stock")
    run.fail("charge_card", "no money")
    assert call("runs", "pause", run.id, *WHY, url=url).exit_code == 0
    shown = call("runs", "continue", run.id, *WHY, url=url)
    assert shown.exit_code == 0
    assert "next: undo charge_card, then undo reserve_stock" in words(shown)


def test_compensations_are_listed_and_run_again(ledger: Ledger, url: str) -> None:
    """Before a rollback it says what one would run; afterwards how far it came."""
    run = RecordedRun(ledger=ledger)
    run.succeed("check_address", "reserve_stock")
    before = call("compensations", "list", run.id, url=url)
    assert "would do" in before.stdout
    assert "1. undo reserve_stock: release the stock" in words(before)
    run = half_undone(ledger)
    after = call("compensations", "list", run.id, url=url)
    assert "release the stock" in after.stdout
    listed = read_json(call("compensations", "list", run.id, "--json", url=url))
    assert {row["step"] for row in listed["compensations"]} >= {"charge_card", "reserve_stock"}
    assert listed["rollback"] is None
    again = call("compensations", "rerun", run.id, "charge_card", *WHY, url=url)
    assert again.exit_code == 0, again.stderr
    assert find(ledger, run).state == "rolling_back"


# who, why, and agreeing


def test_reason_is_required(ledger: Ledger, url: str) -> None:
    """Where nobody can be asked for it; nothing was changed."""
    run = parked(ledger)
    result = call("runs", "cancel", run.id, url=url)
    assert (result.exit_code, find(ledger, run).state) == (USAGE, "parked")
    assert "--reason" in result.stderr


def test_what_is_not_certain_needs_a_yes(ledger: Ledger, url: str) -> None:
    """A step that failed may have had its effect: without a terminal nobody can be asked, so it is refused."""
    run = RecordedRun(ledger=ledger)
    run.succeed("check_address", "reserve_stock", "charge_card")
    run.fail("book_courier", "no courier")
    run.undo("book_courier", "charge_card", "reserve_stock")
    run.finish_rollback(RollbackOutcome.PARTIAL)
    result = call("compensations", "rerun", run.id, "nothing", *WHY, url=url)
    assert result.exit_code == REFUSED


def test_refusal_tells_why_and_what_to_do(ledger: Ledger, url: str) -> None:
    """In the words of the command line, with the command that shows what is possible."""
    run = in_doubt(ledger)
    result = call("runs", "resume", run.id, *WHY, url=url)
    assert (result.exit_code, result.stdout) == (REFUSED, "")
    assert f"`backout runs resume` of run {run.id} is refused: reserve_stock may have happened" in result.stderr
    assert f"backout runs next {run.id}" in result.stderr
    error = json.loads(call("runs", "resume", run.id, *WHY, "--json", url=url).stderr)["error"]
    assert error["code"] == "action_refused"
    assert error["why"].startswith("reserve_stock may have happened")
    assert "`backout reviews resolve`" in error["remedy"]


def test_unknown_run_is_not_found(ledger: Ledger, url: str) -> None:
    """With the same exit code as when one looks at it."""
    assert call("runs", "cancel", "0198", *WHY, url=url).exit_code == NOT_FOUND


@pytest.mark.parametrize("url", ["sqlite_url", "postgres_url"], indirect=True)
def test_second_of_two_operators_is_told(ledger: Ledger, url: str) -> None:
    """Both decided on the same preview; the second learns who was faster, and nothing is done twice."""
    run = parked(ledger)
    version = read_json(call("runs", "rollback", run.id, "--preview", "--json", url=url))["version"]
    assert call("runs", "resume", run.id, *WHY, "--expecting", version, "--yes", url=url).exit_code == 0
    late = call("runs", "cancel", run.id, "--reason", "x", "--actor", "bob", "--expecting", version, "--yes", url=url)
    assert late.exit_code == CHANGED
    assert "by ada" in late.stderr
    assert "Nothing was changed" in late.stderr
    assert find(ledger, run).state == "running"
    error = json.loads(call("runs", "cancel", run.id, *WHY, "--expecting", version, "--yes", "--json", url=url).stderr)[
        "error"
    ]
    assert (error["code"], error["expected"]) == ("state_changed", "what the preview showed")


def test_wait_gives_up_and_the_run_stays_paused(ledger: Ledger, url: str) -> None:
    """A running attempt cannot be taken away from; the message says how the run goes on."""
    run = RecordedRun(ledger=ledger)
    run.claim("check_address")
    without = call("runs", "rollback", run.id, *WHY, url=url)
    assert without.exit_code == REFUSED
    assert "--wait" in without.stderr
    result = call("runs", "rollback", run.id, *WHY, "--wait", "0.3", url=url)
    assert result.exit_code == TIMED_OUT
    assert f"runs resume {run.id}" in result.stderr
    assert find(ledger, run).state == "paused"


# at a terminal


def test_person_is_shown_the_preview_and_asked(ledger: Ledger, url: str) -> None:
    """Why, then whether; who says no has changed nothing."""
    run = parked(ledger)
    with Terminal("--database", url, "runs", "rollback", run.id) as terminal:
        terminal.wait_for("Why (kept in the record):")
        terminal.type("the customer withdrew")
        terminal.wait_for("Do it? [y/N]:")
        assert "Preview" in terminal.shown
        terminal.type("n")
        assert terminal.wait_until_ended() == 1
        terminal.wait_for("Nothing was done.")
    assert find(ledger, run).state == "parked"
    with Terminal("--database", url, "runs", "cancel", run.id, "--reason", "the customer withdrew") as terminal:
        terminal.wait_for("Do it? [y/N]:")
        terminal.type("y")
        assert terminal.wait_until_ended() == 0
    assert find(ledger, run).state == "cancelled"


def test_person_who_agrees_too_late_is_told(ledger: Ledger, url: str) -> None:
    """What they agreed to is what they saw."""
    run = parked(ledger)
    with Terminal("--database", url, "runs", "cancel", run.id, "--reason", "x") as terminal:
        terminal.wait_for("Do it? [y/N]:")
        assert call("runs", "resume", run.id, *WHY, "--yes", url=url).exit_code == 0
        terminal.type("y")
        assert terminal.wait_until_ended() == CHANGED
        terminal.wait_for("by ada")
    assert find(ledger, run).state == "running"


# reviews


def test_reviews_are_listed_oldest_first(ledger: Ledger, url: str) -> None:
    """With what is asked in words, of which pipeline, and who looks after it."""
    assert "Nothing waits for a person" in call("reviews", "list", url=url).stdout
    first, second = in_doubt(ledger), in_doubt(ledger)
    ids = [review_of(ledger, run).id for run in (first, second)]
    assert call("reviews", "assign", str(ids[1]), "--to", "bob", "--actor", "ada", url=url).exit_code == 0
    shown = words(call("reviews", "list", url=url))
    assert "reserve_stock: nothing confirms" in shown
    document = read_json(call("reviews", "list", "--json", url=url))
    assert [review["id"] for review in document["reviews"]] == ids
    assert document["reviews"][0]["pipeline"] == "fulfil_order"
    assert document["reviews"][0]["is_overdue"] is False
    mine = read_json(call("reviews", "list", "--assignee", "bob", "--json", url=url))
    assert [review["id"] for review in mine["reviews"]] == [ids[1]]
    assert read_json(call("reviews", "list", "--overdue", "--json", url=url))["reviews"] == []


def test_review_is_shown_with_what_each_decision_would_do(ledger: Ledger, url: str) -> None:
    """Evidence, ids, what must not be repeated, and the commands."""
    run = in_doubt(ledger)
    review = review_of(ledger, run)
    result = call("reviews", "show", str(review.id), BACKOUT_DATABASE_URL=url)
    shown = words(result)
    for fact in (
        "What happened",
        f"idempotency key {run.id}:reserve_stock",
        "reserve_stock: nobody knows whether it happened",
        f"backout reviews resolve {review.id} done --output JSON",
        f"backout reviews resolve {review.id} not-done",
        f"backout reviews resolve {review.id} accept",
        "next: run charge_card",
        "Then the run is ✗ failed",
    ):
        assert fact in shown
    document = read_json(call("reviews", "show", str(review.id), "--json", url=url))
    assert [decision["decision"] for decision in document["decisions"]] == ["done", "not_done", "accept"]
    assert call("reviews", "show", "99", url=url).exit_code == NOT_FOUND


@pytest.mark.parametrize(
    ("decision", "state"),
    [(("done", "--output", '{"hold": 1}'), "running"), (("not-done",), "running"), (("accept",), "failed")],
)
def test_review_is_decided(ledger: Ledger, url: str, decision: tuple[str, ...], state: str) -> None:
    """Once: the second is told who decided."""
    run = in_doubt(ledger)
    review = review_of(ledger, run)
    result = call("reviews", "resolve", str(review.id), *decision, *WHY, url=url)
    assert result.exit_code == 0, result.stderr
    assert find(ledger, run).state == state
    again = call("reviews", "resolve", str(review.id), "accept", *WHY, url=url)
    assert again.exit_code == REFUSED
    assert "ada has decided review" in again.stderr
    assert "Decided" in call("reviews", "show", str(review.id), url=url).stdout
    assert call("reviews", "assign", str(review.id), *WHY, url=url).exit_code == REFUSED


def test_done_needs_the_output(ledger: Ledger, url: str, tmp_path: Any) -> None:
    """Later steps are given it; a file can hold it, and what is no JSON is refused."""
    run = in_doubt(ledger)
    review = str(review_of(ledger, run).id)
    missing = call("reviews", "resolve", review, "done", *WHY, url=url)
    assert missing.exit_code == USAGE
    assert "--output" in missing.stderr
    assert call("reviews", "resolve", review, "done", "--output", "ch_881", *WHY, url=url).exit_code == USAGE
    assert call("reviews", "resolve", review, "accept", "--output", "1", *WHY, url=url).exit_code == USAGE
    assert call("reviews", "resolve", review, "done", "--output", "@/nowhere", *WHY, url=url).exit_code == USAGE
    (tmp_path / "output.json").write_text('{"hold": "h_17"}')
    result = call("reviews", "resolve", review, "done", "--output", f"@{tmp_path / 'output.json'}", *WHY, url=url)
    assert result.exit_code == 0
    rows = ledger.read(lambda connection: queries.list_steps(connection, run.id))
    assert rows[1].output == {"hold": "h_17"}


def test_review_is_taken_by_one(ledger: Ledger, url: str) -> None:
    """The other is told, and can take it over when they mean it."""
    review = str(review_of(ledger, in_doubt(ledger)).id)
    assert "ada looks after" in call("reviews", "assign", review, "--actor", "ada", url=url).stdout
    assert call("reviews", "assign", review, "--actor", "ada", url=url).exit_code == 0
    other = call("reviews", "assign", review, "--actor", "bob", url=url)
    assert other.exit_code == REFUSED
    assert "ada looks after" in other.stderr
    taken = read_json(call("reviews", "assign", review, "--actor", "bob", "--yes", "--json", url=url))
    assert (taken["assignee"], taken["before"]) == ("bob", "ada")


# many at once


def test_many_runs_at_once_with_mixed_results(ledger: Ledger, url: str) -> None:
    """Counted first, agreed to, done one by one; what was refused is told with its reason."""
    good = [parked(ledger), parked(ledger)]
    bad = in_doubt(ledger)
    chosen = ("--pipeline", "fulfil_order", "--state", "parked", "--state", "in_review")
    preview = call("runs", "resume", *chosen, "--preview", url=url)
    assert preview.exit_code == REFUSED
    for fact in (
        "3 runs: ■ 2 parked and ! 1 in review",
        "✓ 2 can be done",
        "✗ 1 would be refused",
        "may have happened",
    ):
        assert fact in words(preview)
    assert [find(ledger, run).state for run in good] == ["parked", "parked"]
    unagreed = call("runs", "resume", *chosen, *WHY, url=url)
    assert unagreed.exit_code == USAGE
    assert "2 runs" in unagreed.stderr
    result = call("runs", "resume", *chosen, *WHY, "--yes", url=url)
    assert result.exit_code == REFUSED
    assert "2 of 3 runs done" in result.stdout
    assert bad.id in result.stdout
    assert [find(ledger, run).state for run in good] == ["running", "running"]


def test_many_runs_as_json_lines(ledger: Ledger, url: str) -> None:
    """A line for each run, and the summary last."""
    runs = [parked(ledger), parked(ledger)]
    result = call("runs", "cancel", "--state", "parked", *WHY, "--yes", "--json", url=url)
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert result.exit_code == 0
    assert [line["run_id"] for line in lines[:2]] == [run.id for run in runs]
    assert lines[0]["is_done"] is True
    assert lines[-1] == {"summary": {"is_preview": False, "runs": 2, "done": 2, "refused": 0}}


def test_many_runs_are_chosen_by_what_has_not_ended(ledger: Ledger, url: str) -> None:
    """Those that have ended are meant only when they are named; `--since` and `--limit` narrow."""
    half_undone(ledger)
    assert "No run fits" in call("runs", "cancel", "--pipeline", "fulfil_order", "--preview", url=url).stdout
    parked(ledger), parked(ledger)
    recent = call("runs", "cancel", "--since", "1h", "--limit", "1", "--preview", url=url)
    assert re.search(r"1 run: ■ 1 parked\. There are more than --limit", words(recent))
    assert "No run fits" in call("runs", "cancel", "--since", "2999-01-01", "--preview", url=url).stdout
    assert call("runs", "cancel", "--since", "soon", "--preview", url=url).exit_code == USAGE


@pytest.mark.parametrize("options", [(), ("0198", "--state", "parked"), ("--state", "parked", "--expecting", "x")])
def test_one_run_or_many_must_be_said(ledger: Ledger, url: str, options: tuple[str, ...]) -> None:
    """Neither, both, or what is for one run only: a usage error, and nothing is changed."""
    assert call("runs", "cancel", *options, *WHY, "--yes", url=url).exit_code == USAGE


def test_steps_and_reviews_are_completed(ledger: Ledger, url: str) -> None:
    """From the plan of the run that is named, and from what is open."""
    run = in_doubt(ledger)
    completer = ShellComplete(backout, {}, "backout", "_BACKOUT_COMPLETE")

    def complete(*arguments: str, incomplete: str = "") -> list[str]:
        found = completer.get_completions(["--database", url, *arguments], incomplete)
        return [item.value for item in found]

    assert complete("runs", "rollback", run.id, "--to-step", incomplete="re") == ["reserve_stock"]
    assert complete("compensations", "rerun", run.id, incomplete="ch") == ["check_address", "charge_card"]
    assert complete("reviews", "resolve") == [str(review_of(ledger, run).id)]
    assert complete("reviews", "resolve", "1", incomplete="a") == ["accept"]
    assert "parked" in complete("runs", "resume", "--state", incomplete="pa")

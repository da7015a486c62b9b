"""The pictures of a run and of the list of runs: complete, aligned and legible at any width, without colour."""

import io
from dataclasses import replace

import pytest
from rich.cells import cell_len
from rich.console import Console

from backout.cli.render.entries import write_entry
from backout.cli.render.page import draw_run
from backout.cli.render.runs import draw_counts, draw_runs
from backout.cli.render.timeline import draw_rollback, draw_steps
from backout.cli.runs_show import export_svg
from backout.events import Event
from backout.identifiers import RunId
from backout.states import Direction, ReviewReason, RollbackOutcome, RunState, StepState
from backout.views.clock import Clock
from backout.views.marks import RUN_MARKS, mark_step
from backout.views.picture import RunPicture
from tests.support.pictures import (
    COMPENSATION,
    at,
    courier_failed,
    done,
    entry_record,
    picture,
    printed,
    review_record,
    run_record,
    step_record,
)

CLOCK = Clock(now=at(30))


def failed_order() -> RunPicture:
    """Return an order whose courier failed, with everything undone that could be."""
    stock = step_record("reserve_stock", StepState.UNDONE, external_ids={"hold": "h_17"})
    charge = step_record("charge_card", StepState.UNDONE, external_ids={"charge": "ch_881"})
    courier = courier_failed()
    kept = step_record("reserve_stock", StepState.KEPT, COMPENSATION)
    read = step_record("check_address", StepState.SKIPPED, COMPENSATION, started_at=None)
    refund = step_record("charge_card", StepState.SUCCEEDED, COMPENSATION, started_at=at(5), finished_at=at(7))
    entries = [
        entry_record(Event.ATTEMPT_STARTED, courier, seconds=3, attempt=1, number=1),
        entry_record(
            Event.RETRY_SCHEDULED,
            courier,
            seconds=3.2,
            attempt=1,
            number=2,
            reason="ConnectionError: timed out",
            detail={"delay_seconds": 2.0},
        ),
        entry_record(Event.ATTEMPT_STARTED, courier, seconds=5.2, number=3),
        entry_record(Event.STEP_FAILED, courier, seconds=5.3, number=4, reason="NoCourier: no courier in that area"),
        entry_record(Event.STEP_KEPT, kept, seconds=5.3, number=5, reason="released by the nightly job"),
        entry_record(Event.STEP_SKIPPED, read, seconds=5.3, number=6, reason="it only reads"),
    ]
    return picture(
        RunState.ROLLED_BACK,
        [*done("check_address"), stock, charge, courier, refund, kept, read],
        entries=entries,
        run={
            "source_event_id": "form-8812",
            "external_ids": {"hold": "h_17", "charge": "ch_881"},
            "error_summary": "NoCourier: no courier in that area",
            "rollback_outcome": RollbackOutcome.COMPLETE,
        },
    )


def test_steps_are_shown_in_the_order_of_the_plan_with_all_that_is_known() -> None:
    """Attempts, times, ids and errors; also the step that was never started."""
    assert printed(draw_steps(failed_order(), CLOCK), width=80).splitlines() == [
        "Steps                             attempts  started   took",
        "  ✓ check_address  succeeded      1 of 6    05:20:00  500 ms",
        "  ↩ reserve_stock  undone         1 of 6    05:20:01  500 ms",
        "  │   hold h_17",
        "  ↩ charge_card    undone         1 of 6    05:20:02  500 ms",
        "  │   charge ch_881",
        "  ✗ book_courier   failed         3 of 3    05:20:03  500 ms",
        "  │   attempt 1  05:20:03  failed after 200 ms: ConnectionError: timed out;",
        "  │   again 2.0 s later",
        "  │   attempt 3  05:20:05  failed for good after 100 ms: NoCourier: no courier",
        "  │   in that area",
        "  · send_receipt   never started",
    ]


def test_rollback_is_shown_in_its_order_with_actions_and_reasons() -> None:
    """What is run is named by its action; what is not run says why."""
    rollback = draw_rollback(failed_order(), CLOCK)
    assert rollback is not None
    assert printed(rollback, width=80).splitlines() == [
        "Rollback                          attempts  started   took",
        "  ✓ charge_card    undone         1 of 6    05:20:05  2.0 s",
        "  │   refund the charge",
        "  = reserve_stock  kept",
        "  │   stays: released by the nightly job",
        "  – check_address  nothing to do",
        "  │   it only reads",
    ]


def test_run_without_a_rollback_shows_none() -> None:
    """An empty heading would read as a rollback of nothing."""
    assert draw_rollback(picture(RunState.SUCCEEDED, done("check_address")), CLOCK) is None


def test_page_holds_the_facts() -> None:
    """The picture at 3 a.m. answers without a second command."""
    page = printed(draw_run(failed_order(), CLOCK))
    for fact in (
        "↩ rolled back",
        "fulfil_order was rolled back: book_courier failed at attempt 3",
        "019aa9c0-d900-7aa5-9931-e0eb6d687b25",
        "rollback complete",
        "customer-17",
        "form-8812",
        "2025-11-22 05:20:00 UTC, 30 s ago",
        "12 s, 3 attempts",
        "hold h_17, charge ch_881",
        "times in UTC",
    ):
        assert fact in page


@pytest.mark.parametrize("width", [50, 60, 80, 100, 140])
def test_page_fits_every_width(width: int) -> None:
    """No line is longer than the terminal, and no word of an error is lost."""
    page = printed(draw_run(failed_order(), CLOCK, with_entries=True), width)
    assert max(cell_len(line) for line in page.splitlines()) <= width
    assert " ".join(page.split()).count("NoCourier: no courier") >= 2


def test_page_without_colour_has_no_escape_sequences() -> None:
    """A pipe gets plain text."""
    assert "\x1b" not in printed(draw_run(failed_order(), CLOCK, with_entries=True))


def test_text_of_users_is_neither_markup_nor_escape_sequence() -> None:
    """An error message cannot colour, move or hide anything."""
    row = step_record("charge_card", StepState.FAILED, error={"message": "[red]\x1b[2J[/red]"})
    entries = [entry_record(Event.STEP_FAILED, row, reason="[red]\x1b[2J[/red]")]
    page = printed(draw_run(picture(RunState.FAILED, [row], entries=entries), CLOCK, with_entries=True))
    assert page.count("[red]\\x1b[2J[/red]") == 3
    assert "\x1b" not in page


def test_open_review_is_shown_with_its_evidence() -> None:
    """A person who must decide sees what is known, and nothing about questions that were answered."""
    row = step_record("charge_card", StepState.IN_DOUBT)
    decided = [{"review": 3, "decision": "not_done", "by": "ada", "note": "not in the books"}]
    evidence = {"not_to_be_repeated": ["charge_card", "reserve"], "decided_before": decided, "idempotency_key": "k-1"}
    answered = review_record(ReviewReason.CREDENTIALS_FAILED, row, decision="done", decided_at=at(9))
    asked = review_record(
        ReviewReason.MAY_HAVE_DUPLICATED, row, evidence=evidence, assignee="ines", deadline_at=at(3_630)
    )
    page = printed(draw_run(picture(RunState.IN_REVIEW, [row], reviews=[answered, asked]), CLOCK))
    assert "! a person must decide (review 7)" in page
    assert "charge_card: it may have happened twice (may_have_duplicated)" in page
    assert "charge_card, reserve" in page
    assert "review 3: not_done by ada (not in the books)" in page
    assert "2025-11-22 06:20:30 UTC, due in 1 h" in page
    assert "ines" in page
    assert "credentials_failed" not in page


@pytest.mark.parametrize(
    ("row", "note"),
    [
        (
            step_record("check_address", StepState.READY, sends=3),
            "requested, waits for a worker since 05:20:00, 30 s ago; its message was sent 3 times",
        ),
        (step_record("check_address", StepState.RETRY_SCHEDULED, next_retry_at=at(38)), "next attempt due in 8.0 s"),
        (
            step_record("check_address", StepState.RUNNING, claim_expires_at=at(18)),
            "its worker is silent: the claim ended 12 s ago; the sweeper takes it up",
        ),
    ],
)
def test_unfinished_step_says_what_it_waits_for(row: object, note: str) -> None:
    """No silent run (R4)."""
    assert note in printed(draw_steps(picture(RunState.RUNNING, [row]), CLOCK))  # type: ignore[list-item] # a row


def test_step_with_many_attempts_shows_the_first_and_the_last() -> None:
    """A thousand retries do not push the rest off the screen."""
    row = step_record("check_address", StepState.RETRY_SCHEDULED, attempt=40, next_retry_at=at(38))
    entries = [
        entry_record(Event.RETRY_SCHEDULED, row, attempt=number, number=number, reason=f"error {number}")
        for number in range(1, 41)
    ]
    steps = printed(draw_steps(picture(RunState.RUNNING, [row], entries=entries), CLOCK))
    assert "error 3;" in steps
    assert "… 32 more, see the entries" in steps
    assert "error 36;" in steps
    assert "error 4;" not in steps


def test_step_shows_its_newest_round() -> None:
    """A restart opens a new round; what was before is in the entries."""
    old = step_record("check_address", StepState.FAILED)
    new = replace(step_record("check_address", StepState.SUCCEEDED), round=2)
    steps = printed(draw_steps(picture(RunState.RUNNING, [old, new]), CLOCK))
    assert "✓ check_address" in steps
    assert "round 2; 1 earlier round" in steps


def test_run_whose_plan_cannot_be_read_shows_its_rows() -> None:
    """A run of a newer release can still be looked at."""
    page = printed(draw_run(picture(RunState.RUNNING, done("check_address"), plan=None), CLOCK))
    assert "✓ check_address" in page
    assert "this release cannot read" in page


def test_long_names_take_a_line_of_their_own() -> None:
    """The columns stay aligned."""
    long_name = "notify_the_customer_and_every_member_of_the_household"
    rows = [replace(step_record("check_address", StepState.SUCCEEDED), step=long_name), *done("reserve_stock")]
    lines = printed(draw_steps(picture(RunState.RUNNING, rows, plan=None), CLOCK), width=80).splitlines()
    assert lines[1] == f"  ✓ {long_name}"
    assert lines[2].index("succeeded") == lines[3].index("succeeded")


def test_every_state_has_a_word_of_its_own() -> None:
    """Colour is never the only carrier, and neither is the sign."""
    assert len({mark.word for mark in RUN_MARKS.values()}) == len(RunState)
    for direction in Direction:
        assert len({mark_step(state, direction).word for state in StepState}) >= len(StepState) - 1
    assert all(cell_len(mark.sign) == 1 for mark in RUN_MARKS.values())


@pytest.mark.parametrize("width", [60, 80, 100, 140])
def test_list_of_runs_fits_every_width(width: int) -> None:
    """Each run shows pipeline, state, operator state, subject and age at any width."""
    waits = run_record(RunState.IN_REVIEW, id=RunId("019aa9c0-e111-7aa5-9931-e0eb6d687b25"), subject_id=None)
    runs = [waits, run_record(RunState.SUCCEEDED)]
    table = printed(draw_runs(runs, CLOCK, width=width), width)
    flat = "".join(table.split())
    assert max(cell_len(line) for line in table.splitlines()) <= width
    for fact in ("019aa9c0-e111", "! in review", "needs a person", "customer-17", "30 s ago"):
        assert fact in table or width < 80
    assert all(word in flat for word in ("card_", "charged_", "courier_", "pending"))


def test_list_of_runs_shows_whole_ids_on_request() -> None:
    """For scripts that do not want JSON."""
    run = run_record(RunState.SUCCEEDED)
    assert run.id in printed(draw_runs([run], CLOCK, width=100, with_full_ids=True))


def test_counts_name_the_states_that_there_are() -> None:
    """The foot of the list says how many there are in all."""
    counts = {RunState.SUCCEEDED: 1_200, RunState.RUNNING: 3}
    assert printed(draw_counts(counts)) == "1,203 runs in the ledger: ▶ 3 running, ✓ 1,200 succeeded"


def test_entry_is_one_line_of_plain_text() -> None:
    """`runs watch` writes it into a pipe; the detail does not repeat the reason."""
    row = step_record("charge_card", StepState.FAILED, COMPENSATION)
    entry = entry_record(
        Event.STEP_FAILED, row, seconds=1.25, reason="Refused: no", detail={"type": "shop.Refused", "message": "no"}
    )
    assert write_entry(entry, CLOCK) == (
        "2025-11-22 05:20:01.250  undo charge_card: step failed (attempt 1)  by engine  Refused: no"
    )


def test_tracebacks_are_shown_with_the_entries_only() -> None:
    """Where it failed is a question for the second look, and keeps its indentation."""
    traceback = 'Traceback (most recent call last):\n  File "shop.py", line 3, in book\n    raise NoCourier\x1b[0m'
    row = step_record("book_courier", StepState.FAILED, error={"message": "no", "traceback": traceback})
    entries = [entry_record(Event.STEP_FAILED, row, reason="NoCourier: no", detail=dict(row.error or {}))]
    failed = picture(RunState.FAILED, [row], entries=entries)
    assert "shop.py" not in printed(draw_run(failed, CLOCK))
    page = printed(draw_run(failed, CLOCK, with_entries=True))
    assert "Traceback of book_courier, attempt 1" in page
    assert '    File "shop.py", line 3, in book\n      raise NoCourier\\x1b[0m\n' in page
    assert page.count("shop.py") == 1


def test_exported_picture_loads_nothing_from_anywhere() -> None:
    """It is shown in a README, where web fonts are blocked anyway."""
    svg = export_svg(draw_run(failed_order(), CLOCK), title="backout runs show")
    assert svg.startswith("<svg")
    assert "url(" not in svg.replace("url(#", "")
    assert "font-face" not in svg
    assert "rolled&#160;back" in svg


def test_colours_are_used_where_there_are_some() -> None:
    """On a terminal the state stands out."""
    console = Console(file=io.StringIO(), force_terminal=True, color_system="standard", width=100)
    with console.capture() as capture:
        console.print(draw_run(failed_order(), CLOCK))
    assert "\x1b[33m" in capture.get()

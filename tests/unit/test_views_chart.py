"""The rows of the timeline's picture, and where their bars stand."""

from __future__ import annotations

from backout.events import Event
from backout.pipelines.contract import Plan
from backout.states import Direction, RunState, StepState
from backout.views.chart import MOST_ROWS, SHORTEST_BAR, Chart, say_row, tell_chart
from backout.views.clock import Clock
from backout.views.picture import RunPicture
from backout.views.timeline import tell_rollback, tell_steps
from tests.support.pictures import COMPENSATION, at, courier_failed, done, entry_record, picture, step_record
from tests.support.runs import contract


def chart_of(of: RunPicture) -> Chart | None:
    clock = Clock(now=of.now)
    return tell_chart(of, tell_steps(of, clock), tell_rollback(of, clock), clock)


def test_rows_are_those_of_the_timeline_in_its_order() -> None:
    """Forward as planned, also what has not begun; then the rollback as it is done."""
    undone = [step_record("book_courier", StepState.SUCCEEDED, COMPENSATION, started_at=at(20), finished_at=at(21))]
    rows = [*done("check_address", "reserve_stock", "charge_card"), courier_failed(), *undone]
    chart = chart_of(picture(RunState.ROLLED_BACK, rows, run={"finished_at": at(21)}))
    assert chart is not None
    assert [(say_row(row), len(row.bars)) for row in chart.rows] == [
        ("check_address", 1),
        ("reserve_stock", 1),
        ("charge_card", 1),
        ("book_courier", 1),
        ("send_receipt", 0),
        ("undo book_courier", 1),
    ]
    assert [one.words for one in chart.breaks] == ["⋯ 16 s"]
    assert chart.rows[0].bars[0].first == 0
    assert chart.rows[-1].bars[0].last == 1
    assert chart.left_out == ""


def test_bar_of_a_moment_is_seen_and_a_sign_stands_where_there_is_room() -> None:
    """Attempts that follow each other closely keep only the sign of the last."""
    row = step_record("charge_card", StepState.SUCCEEDED, attempt=2, started_at=at(0), finished_at=at(100))
    entries = [
        entry_record(Event.ATTEMPT_STARTED, row, seconds=0, attempt=1),
        entry_record(Event.RETRY_SCHEDULED, row, seconds=0, attempt=1),
        entry_record(Event.ATTEMPT_STARTED, row, seconds=1, attempt=2),
        entry_record(Event.STEP_SUCCEEDED, row, seconds=100, attempt=2),
    ]
    chart = chart_of(picture(RunState.SUCCEEDED, [row], entries=entries))
    assert chart is not None
    wait, first, second = chart.rows[row.position].bars
    assert (wait.first, wait.last, wait.has_sign) == (0, 0.01, False)
    assert (first.first, first.last, first.has_sign) == (0, SHORTEST_BAR, False)
    assert (second.first, second.last, second.has_sign, second.sign_fits_narrow) == (0.01, 1, True, True)


def test_run_that_stands_is_drawn_until_now() -> None:
    """How long nothing has happened is a part of the picture while the run is not over."""
    chart = chart_of(picture(RunState.PARKED, done("check_address"), seconds=3_600))
    assert chart is not None
    assert [one.words for one in chart.breaks] == ["⋯ 1 h"]
    over = chart_of(picture(RunState.CANCELLED, done("check_address"), seconds=3_600))
    assert over is not None
    assert over.breaks == ()


def test_very_many_rows_are_those_around_where_the_run_stands() -> None:
    """And it is said how many are not drawn."""
    plan = Plan(pipeline="long", steps=tuple(contract(f"step_{number}") for number in range(100)))
    rows = [step_record(f"step_{number}", StepState.SUCCEEDED, plan=plan) for number in range(90)]
    chart = chart_of(picture(RunState.RUNNING, rows, plan=plan, seconds=90))
    assert chart is not None
    assert len(chart.rows) == MOST_ROWS
    assert chart.rows[-1].name == "step_99"
    assert chart.left_out == "40 rows of 100 not drawn: far from where it stands."


def test_question_about_a_step_stands_in_its_row() -> None:
    """What was asked whether it happened, beside the attempt that nobody knows of."""
    row = step_record("charge_card", StepState.SUCCEEDED)
    asked = step_record("charge_card", StepState.SUCCEEDED, Direction.RECONCILE, started_at=at(5), finished_at=at(6))
    entry = entry_record(Event.ATTEMPT_STARTED, asked, seconds=5)
    chart = chart_of(picture(RunState.RUNNING, [row, asked], entries=[entry]))
    assert chart is not None
    attempt, question = chart.rows[row.position].bars
    assert question.span.words == "asked whether it happened, attempt 1, 05:20:05, 1.0 s: answered"
    assert attempt.last < question.first


def test_run_of_which_nothing_is_known_has_no_picture() -> None:
    """A plan that cannot be read, and no row."""
    assert chart_of(picture(RunState.PENDING, plan=None)) is None

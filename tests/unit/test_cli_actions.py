"""What the commands that act say and understand, without a ledger."""

from datetime import UTC, datetime, timedelta
from io import StringIO

import click
import pytest
from rich.console import Console

from backout.cli.exits import Exit, Refusal, UnknownReview, exit_code_of
from backout.cli.render.commands import DECISIONS, VERBS, say_command
from backout.cli.render.previews import draw_done, draw_tasks
from backout.cli.since import Since, resolve_since
from backout.cli.wording import in_commands
from backout.compensations.actions import ActionDone
from backout.compensations.requests import PlannedTask, Request, ReviewDecision, TaskKind, Verb
from backout.errors import ActionRefused, StateChanged
from backout.identifiers import RunId
from backout.states import RunState
from backout.views.deeds import DEEDS

NOW = datetime(2025, 11, 22, 5, 20, tzinfo=UTC)
UNDO = PlannedTask(
    kind=TaskKind.UNDO,
    name="shop.pipelines.refund_card",
    step="charge_card",
    action="refund the charge",
    given={"output": {"id": "ch_1", "cents": 4200}, "external_ids": {"charge": "ch_1"}, "idempotency_key": "k:undo"},
    missing=("the receipt",),
)


def drawn(renderable: object, width: int = 80) -> str:
    file = StringIO()
    Console(file=file, width=width, no_color=True).print(renderable)
    return file.getvalue()


@pytest.mark.parametrize(
    ("request_", "command"),
    [
        (Request(verb=Verb.RETRY_STEP), "backout runs retry r-1"),
        (Request(verb=Verb.SKIP_STEP, step="charge card"), "backout runs skip r-1 --step 'charge card'"),
        (Request(verb=Verb.ROLLBACK, to_step="a"), "backout runs rollback r-1 --to-step a"),
        (Request(verb=Verb.CANCEL, with_rollback=True), "backout runs cancel r-1 --rollback"),
        (Request(verb=Verb.RERUN_COMPENSATION, step="a"), "backout compensations rerun r-1 a"),
        (
            Request(verb=Verb.RESOLVE, review_id=3, decision=ReviewDecision.NOT_DONE),
            "backout reviews resolve 3 not-done",
        ),
    ],
)
def test_command_is_what_is_typed(request_: Request, command: str) -> None:
    """Names that need it are quoted."""
    assert say_command(request_, "r-1") == command


def test_every_verb_and_decision_has_its_command_and_its_words() -> None:
    """A verb that is added later is not forgotten here."""
    assert set(VERBS) == set(DEEDS) == set(Verb)
    assert set(DECISIONS) == set(ReviewDecision)


def test_verbs_in_messages_are_those_of_the_command_line() -> None:
    """What is between backticks can be typed; other words stay."""
    told = in_commands("ask for `continue_rollback`, or `resolve` it with `done` or `not_done`; `other` stays")
    assert told == (
        "ask for `backout runs continue`, or `backout reviews resolve` it with `done` or `not-done`; `other` stays"
    )


def test_refused_and_late_have_exit_codes_of_their_own() -> None:
    """Scripts tell them apart, and JSON has their facts."""
    refused = ActionRefused(verb="rollback", run_id="r-1", why="it is final", remedy="Use `resume`.")
    late = StateChanged(verb="rollback", run_id="r-1", expected="a", found="b", by="ada")
    assert exit_code_of(refused) is Exit.REFUSED
    assert exit_code_of(late) is Exit.CHANGED
    assert exit_code_of(UnknownReview(review_id=3)) is Exit.NOT_FOUND
    shown = Refusal(refused, as_json=True)
    assert shown.message.startswith("`backout runs rollback` of run r-1 is refused: it is final.")
    assert shown.facts == {
        "verb": "rollback",
        "run_id": "r-1",
        "why": "it is final",
        "remedy": "Use `backout runs resume`.",
    }


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("30m", NOW - timedelta(minutes=30)),
        ("2h", NOW - timedelta(hours=2)),
        ("1.5d", NOW - timedelta(hours=36)),
        ("2025-11-22T04:00Z", NOW.replace(hour=4, minute=0)),
        ("2025-11-22T05:00+01:00", NOW.replace(hour=4, minute=0)),
    ],
)
def test_since_is_a_length_or_an_instant(typed: str, meant: datetime) -> None:
    """Counted from the ledger's clock."""
    assert resolve_since(Since().convert(typed, None, None), NOW) == meant


@pytest.mark.parametrize("typed", ["", "soon", "2", "h", "-2h", "99999999999w", "2025-13-01"])
def test_since_that_is_no_time_is_refused_with_examples(typed: str) -> None:
    """Instead of being guessed at."""
    with pytest.raises(click.BadParameter, match="Give 30m, 2h or 3d"):
        Since().convert(typed, None, None)


def test_tasks_are_shown_in_order_with_what_they_get_and_lack() -> None:
    """At 80 columns, without colour."""
    assert drawn(draw_tasks([UNDO])).splitlines() == [
        "It would run:",
        *(
            f"  {line}".ljust(80)
            for line in (
                "1. undo charge_card: refund the charge",
                "   task shop.pipelines.refund_card",
                '   with output {"id":"ch_1","cents":4200}',
                "   with external ids charge ch_1",
                "   with idempotency key k:undo",
                "   without the receipt",
            )
        ),
    ]
    assert "No task would run" in drawn(draw_tasks([]))


def test_what_was_done_is_told_with_who_and_why() -> None:
    """And text from outside cannot steer the terminal."""
    done = ActionDone(
        verb=Verb.ROLLBACK,
        run_id=RunId("r-1"),
        state=RunState.ROLLING_BACK,
        tasks=(UNDO,),
        notes=("Something stays.",),
        is_sent=True,
    )
    shown = drawn(draw_done(done, actor="ada\x1b[2J", reason="wrong order", sending="Sent to the workers."), 120)
    for fact in ("✓ Done", "↺ rolling back", "ada\\x1b[2J: wrong order", "next: undo charge_card", "Something stays."):
        assert fact in shown

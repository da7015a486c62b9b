"""What the verbs promise beyond the table: rollback to a step, restarts, reviews, and what never happens."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backout.compensations.intents import decide
from backout.compensations.moves import (
    Ask,
    Clear,
    Close,
    Intent,
    MarkUndone,
    Reopen,
    ResumeRun,
    Settle,
    Start,
    SucceedRun,
    TurnRunBack,
)
from backout.compensations.next_actions import list_next_actions
from backout.compensations.requests import Refusal, Request, ReviewDecision, RunView, Verb
from backout.compensations.rounds import key_in_round, next_position
from backout.ledger.records import StepRecord
from backout.ledger.transitions import CLOSED
from backout.pipelines.contract import Plan
from backout.states import Direction, ReviewReason, RollbackOutcome, RunState, StepState
from tests.support.records import AN_INSTANT, RUN
from tests.support.situations import BACK_ENDED, DOUBT, REQUESTS, SITUATIONS, THREE, TWO, about, here
from tests.support.views import (
    ASKED,
    BACK,
    BOOK,
    CHARGE,
    CHECK,
    PAGE,
    RECEIPT,
    RESERVE,
    SEEN,
    SHIP,
    SHOP,
    done,
    review_of,
    row,
    view_of,
)

S = StepState
RESUME: Final = REQUESTS["resume"]
ROLLBACK: Final = REQUESTS["rollback"]
LATER: Final = AN_INSTANT + timedelta(minutes=9)


def allowed(view: RunView, request: Request) -> Intent:
    decided = decide(view, request)
    assert isinstance(decided, Intent), decided
    return decided


def refused(view: RunView, request: Request) -> Refusal:
    decided = decide(view, request)
    assert isinstance(decided, Refusal), decided
    return decided


def tasks_of(intent: Intent) -> list[str]:
    return [f"{task.kind.value} {task.step}" for task in intent.tasks]


def only(intent: Intent, kind: type[Any]) -> Any:
    (move,) = [move for move in intent.moves if isinstance(move, kind)]
    return move


class TestRollback:
    def test_to_a_step_leaves_it_and_those_before_it(self) -> None:
        """The run is paused then; the preview says so, and lists only what is after the step."""
        intent = allowed(SITUATIONS["succeeded"], Request(verb=Verb.ROLLBACK, to_step="charge"))
        assert tasks_of(intent) == ["undo page", "undo book"]
        assert only(intent, TurnRunBack).to_position == 2
        assert any("paused" in note for note in intent.notes)

    def test_to_its_last_step_has_nothing_to_undo(self) -> None:
        """A final run is not turned round for nothing."""
        assert "nothing to undo" in refused(SITUATIONS["succeeded"], Request(verb=Verb.ROLLBACK, to_step="receipt")).why

    def test_to_a_step_that_does_not_exist_names_those_that_do(self) -> None:
        """A word that was typed wrong is no rollback of everything."""
        refusal = refused(SITUATIONS["parked"], Request(verb=Verb.ROLLBACK, to_step="chrage"))
        assert "'chrage'" in refusal.why
        assert "charge" in refusal.remedy

    def test_across_an_irreversible_step_needs_a_reason(self) -> None:
        """R7: refused without one; with it, the run ends as failed, because something stays."""
        plan = Plan(pipeline="shop", steps=(RESERVE, SHIP, CHARGE))
        view = view_of(RunState.SUCCEEDED, done(plan, "reserve", "ship", "charge"), plan=plan)
        refusal = refused(view, ROLLBACK)
        assert "it has left the house" in refusal.why
        assert "across_irreversible" in refusal.remedy
        intent = allowed(view, replace(ROLLBACK, across_irreversible="the parcel came back"))
        assert tasks_of(intent) == ["undo charge", "undo reserve"]
        assert not intent.is_safe
        assert allowed(view, replace(ROLLBACK, to_step="ship")).is_safe

    def test_with_nothing_to_run_says_where_it_ends(self) -> None:
        """The preview's state is the state of the run right after it, also where no task runs."""
        plan = Plan(pipeline="shop", steps=(CHECK, RECEIPT, SHIP))
        parked = view_of(RunState.PARKED, done(plan, "check"), plan=plan)
        assert allowed(parked, ROLLBACK).leads_to is RunState.ROLLED_BACK
        assert allowed(parked, replace(ROLLBACK, to_step="check")).leads_to is RunState.PAUSED
        gone = view_of(RunState.PARKED, done(plan, "check", "receipt", "ship"), plan=plan)
        assert allowed(gone, replace(ROLLBACK, across_irreversible="so be it")).leads_to is RunState.FAILED

    @pytest.mark.parametrize(
        ("state", "attempt", "tasks"),
        [
            (S.READY, 0, []),
            (S.PENDING, 0, []),
            (S.READY, 1, ["ask charge", "undo charge"]),
            (S.PENDING, 2, ["ask charge", "undo charge"]),
            (S.RETRY_SCHEDULED, 1, ["ask charge", "undo charge"]),
            (S.IN_DOUBT, 1, ["ask charge", "undo charge"]),
        ],
    )
    def test_what_was_tried_is_undone_and_what_is_due_is_closed(
        self, state: StepState, attempt: int, tasks: list[str]
    ) -> None:
        """A row that waits does not run any more; one attempt of it may have had the effect."""
        view = view_of(RunState.RUNNING, [*TWO, here("charge", state, attempt=attempt)])
        intent = allowed(view, ROLLBACK)
        assert tasks_of(intent) == [*tasks, "undo reserve"]
        assert [move.row.step for move in intent.moves if isinstance(move, Close)] == (
            [] if state is S.IN_DOUBT else ["charge"]
        )

    def test_a_question_that_waits_is_closed_too(self) -> None:
        """It would otherwise be answered in a run that is on its way back."""
        rows = [*TWO, here("charge", S.IN_DOUBT), here("charge", S.WAITING, direction=ASKED)]
        intent = allowed(view_of(RunState.RUNNING, rows), ROLLBACK)
        assert only(intent, Close).row.direction is Direction.RECONCILE

    def test_the_first_undo_waits_for_what_may_still_run(self) -> None:
        """R5: an attempt that was given up could have its effect after its undo."""
        view = view_of(RunState.PARKED, [*THREE, here("book", S.FAILED)], alive_until=LATER)
        assert any(f"{LATER:%H:%M:%S} UTC" in note for note in allowed(view, ROLLBACK).notes)

    def test_is_the_same_as_cancel_with_rollback(self) -> None:
        """Two words for one thing."""
        for view in SITUATIONS.values():
            assert decide(view, Request(verb=Verb.CANCEL, with_rollback=True)) == decide(view, ROLLBACK)


class TestRestart:
    """A run that was rolled back goes on: in a new round, with what was undone."""

    def ended(self, rows: list[StepRecord], *, plan: Plan = SHOP, **run: Any) -> RunView:
        values = {"rollback_outcome": RollbackOutcome.COMPLETE, **run}
        return view_of(RunState.ROLLED_BACK, rows, plan=plan, **values)

    def test_it_forgets_the_error_and_the_last_success_of_what_is_undone(self) -> None:
        """What the first round failed with does not hold in the second."""
        resumed = only(allowed(self.ended(BACK_ENDED), RESUME), ResumeRun)
        assert (resumed.round_number, resumed.is_error_over, resumed.last_successful_step) == (2, True, None)

    def test_what_was_undone_gets_a_new_key(self) -> None:
        """The old one names an effect that was taken back."""
        assert key_in_round(SHOP, BACK_ENDED, RUN, 1, 2) == f"{RUN}:reserve:2"

    def test_what_may_stand_keeps_its_key(self) -> None:
        """Its provider must be able to see that it is the same."""
        rows = [*BACK_ENDED[:-2], here("book", S.FAILED, direction=BACK)]
        assert key_in_round(SHOP, rows, RUN, 3, 2) == f"{RUN}:book"

    def test_what_was_undone_in_a_later_round_gets_a_new_key(self) -> None:
        """A second round under the first one's key has one effect with it: undone once, it is undone."""
        rows = [
            here("book", S.FAILED),
            here("book", S.FAILED, direction=BACK),
            here("book", S.UNDONE, round=2),
            here("book", S.SUCCEEDED, direction=BACK, round=2),
        ]
        assert rows[0].idempotency_key == rows[2].idempotency_key
        assert key_in_round(SHOP, rows, RUN, 3, 3) == f"{RUN}:book:3"

    def test_kept_steps_are_not_repeated(self) -> None:
        """They stand, and the run passes them by; the preview says so."""
        plan = Plan(pipeline="shop", steps=(RESERVE, RECEIPT, CHARGE))
        rows = [
            row(plan, "reserve", S.UNDONE),
            *done(plan, "receipt"),
            row(plan, "charge", S.UNDONE),
            row(plan, "receipt", S.KEPT, direction=BACK),
            *(row(plan, name, S.SUCCEEDED, direction=BACK) for name in ("reserve", "charge")),
        ]
        intent = allowed(self.ended(rows, plan=plan), RESUME)
        assert only(intent, Start).step == "reserve"
        assert any("receipt was not undone" in note for note in intent.notes)
        second = [*rows, *done(plan, "reserve", round=2)]
        assert next_position(plan, second, after=0) == 2

    def test_a_kept_last_step_does_not_end_the_run(self) -> None:
        """The step at which the run stands is done and stays, but what it needs was undone: that comes first."""
        plan = Plan(pipeline="shop", steps=(CHARGE, RECEIPT))
        rows = [
            row(plan, "charge", S.UNDONE),
            *done(plan, "receipt"),
            row(plan, "charge", S.SUCCEEDED, direction=BACK),
            row(plan, "receipt", S.KEPT, direction=BACK),
        ]
        intent = allowed(self.ended(rows, plan=plan), RESUME)
        assert (tasks_of(intent), only(intent, Start).key.round) == (["run charge"], 2)
        assert not any(isinstance(move, SucceedRun) for move in intent.moves)

    @pytest.mark.parametrize("verb", [Verb.RESUME, Verb.RETRY_STEP])
    def test_a_failure_without_effect_does_not_run_again_before_what_it_needs(self, verb: Verb) -> None:
        """The step that failed was not undone, because nothing had happened; those before it were, and come first."""
        no_effect = {"type": "backout.FailStep", "message": "no courier", "no_effect": True}
        rows = [
            *done(SHOP, "check"),
            *(here(name, S.UNDONE) for name in ("reserve", "charge")),
            here("book", S.FAILED, error=no_effect),
            here("book", S.SKIPPED, direction=BACK, attempt=0),
            *(here(name, S.SUCCEEDED, direction=BACK) for name in ("reserve", "charge")),
        ]
        intent = allowed(self.ended(rows), Request(verb=verb))
        assert tasks_of(intent) == ["run check"]
        assert not any(isinstance(move, Reopen) for move in intent.moves)
        assert intent.is_safe

    def test_it_cannot_be_skipped_past_what_was_undone(self) -> None:
        """Going on without the step that failed would go on without all that was undone."""
        for name in ("rolled back", "rolled back in part", "rolled back to a step"):
            refused(SITUATIONS[name], REQUESTS["skip"])

    def test_what_was_read_just_before_is_read_again(self) -> None:
        """Whether a slot is free is asked again; what was read before the step that is left stays."""
        plan = Plan(pipeline="shop", steps=(CHECK, RESERVE, replace(CHECK, name="look"), CHARGE))
        rows = [
            *done(plan, "check", "reserve", "look"),
            row(plan, "charge", S.UNDONE),
            row(plan, "charge", S.SUCCEEDED, direction=BACK),
        ]
        paused = view_of(RunState.PAUSED, rows, plan=plan, rollback_to=1, rollback_outcome=RollbackOutcome.COMPLETE)
        assert tasks_of(allowed(paused, RESUME)) == ["run look"]
        after_look = replace(paused, run=replace(paused.run, rollback_to=2))
        assert tasks_of(allowed(after_look, RESUME)) == ["run charge"]

    def test_a_named_step_must_be_the_one_it_starts_with(self) -> None:
        """A wrong word is refused, with the right one."""
        view = self.ended(BACK_ENDED)
        assert "`retry_step` of check" in refused(view, Request(verb=Verb.RETRY_STEP, step="page")).remedy
        allowed(view, Request(verb=Verb.RETRY_STEP, step="check"))

    def test_a_step_in_doubt_that_stands_keeps_it_from_starting(self) -> None:
        """R8: the new round would come to it and run it again, and nobody has said that it has not happened."""
        for left, remedy in ((BOOK, "`rerun_compensation`"), (replace(RECEIPT, name="book"), "enqueue")):
            plan = Plan(pipeline="shop", steps=(RESERVE, left))
            rows = [
                row(plan, "reserve", S.UNDONE),
                row(plan, "book", S.IN_DOUBT, error=DOUBT),
                row(plan, "reserve", S.SUCCEEDED, direction=BACK),
                row(plan, "book", S.FAILED if left is BOOK else S.KEPT, direction=BACK),
            ]
            refusal = refused(self.ended(rows, plan=plan), RESUME)
            assert "R8" in refusal.why
            assert remedy in refusal.remedy

    def test_a_step_that_the_run_had_passed_is_not_what_it_starts_with(self) -> None:
        """A notification that failed, and was let go, is not sent again because the run was cancelled after it."""
        plan = Plan(pipeline="shop", steps=(RESERVE, RECEIPT, CHARGE))
        closed = {"type": CLOSED, "message": "stop"}
        rows = [
            *done(plan, "reserve"),
            row(plan, "receipt", S.FAILED),
            row(plan, "charge", S.SKIPPED, attempt=0, error=closed),
        ]
        assert tasks_of(allowed(view_of(RunState.CANCELLED, rows, plan=plan), RESUME)) == ["run charge"]

    def test_its_second_rollback_undoes_the_second_round(self) -> None:
        """What the first one has undone is not undone twice (R6)."""
        rows = [*BACK_ENDED, *done(SHOP, "check", "reserve", round=2), here("charge", S.FAILED, round=2)]
        intent = allowed(view_of(RunState.PARKED, rows), ROLLBACK)
        assert tasks_of(intent) == ["ask charge", "undo charge", "undo reserve"]
        plan = only(intent, TurnRunBack).plan
        assert {line.forward.round for line in plan.compensations} == {2}

    def test_a_single_undo_of_the_first_round_does_not_close_the_second(self) -> None:
        """The run stands in its second round: what that has done would stay, and the run would say it is undone."""
        rows = [*BACK_ENDED, *done(SHOP, "check", "reserve", round=2), here("charge", S.FAILED, round=2)]
        for state in (RunState.CANCELLED, RunState.IN_REVIEW, RunState.FAILED):
            reviews = [review_of(rows[-1], ReviewReason.SYSTEMS_DISAGREE)] if state is RunState.IN_REVIEW else []
            view = view_of(state, rows, reviews=reviews)
            assert "`rollback`" in refused(view, Request(verb=Verb.RERUN_COMPENSATION, step="book")).remedy


class TestRerunCompensation:
    rerun = Request(verb=Verb.RERUN_COMPENSATION, step="book")

    @pytest.mark.parametrize(
        ("state", "is_safe", "note"),
        [
            (S.SUCCEEDED, False, "undoing twice"),
            (S.FAILED, True, ""),
            (S.IN_DOUBT, False, "may have been done"),
            (S.SKIPPED, True, ""),
        ],
    )
    def test_it_runs_under_its_old_key(self, state: StepState, *, is_safe: bool, note: str) -> None:
        """R6: only because a person asks; what could be done twice is said."""
        rows = [*BACK_ENDED[:-2], here("book", state, direction=BACK)]
        view = view_of(RunState.FAILED, rows, rollback_outcome=RollbackOutcome.PARTIAL)
        intent = allowed(view, self.rerun)
        assert (tasks_of(intent), intent.is_safe) == (["undo book"], is_safe)
        assert note in " ".join(intent.notes)
        assert only(intent, Reopen).state is S.PENDING

    def test_one_that_stops_the_rollback_lets_it_go_on(self) -> None:
        """The preview lists all that runs then, not only the one."""
        intent = allowed(SITUATIONS["undo failed"], self.rerun)
        assert tasks_of(intent) == ["undo book", "undo charge", "undo reserve"]

    def test_another_one_stands_in_the_way(self) -> None:
        """A rollback that has stopped at one step does not go on at another."""
        rows = [*SITUATIONS["undo failed"].steps, here("charge", S.SUCCEEDED, direction=BACK, round=1)]
        view = replace(SITUATIONS["undo failed"], steps=tuple(r for r in rows if r.state is not S.PENDING))
        assert "stopped at book" in refused(view, replace(self.rerun, step="charge")).why

    @pytest.mark.parametrize("step", [None, "no such step", "receipt"])
    def test_a_step_without_one_is_refused(self, step: str | None) -> None:
        """Those that there are, are listed."""
        refused(SITUATIONS["rolled back"], Request(verb=Verb.RERUN_COMPENSATION, step=step))
        assert "Those of this run: book" in refused(SITUATIONS["rolled back"], replace(self.rerun, step="x")).remedy


class TestResolve:
    def resolve(self, decision: ReviewDecision, **values: Any) -> Request:
        return Request(verb=Verb.RESOLVE, decision=decision, **values)

    def test_what_is_given_is_recorded_as_the_output(self) -> None:
        """`done`: what the step would have returned, which later steps read."""
        settled = only(allowed(SITUATIONS["step in doubt"], REQUESTS["done"]), Settle)
        assert (settled.row.step, settled.output) == ("book", {"by": "hand"})

    def test_done_ends_the_doubt_of_the_run(self) -> None:
        """The error that the run showed was this step's, which is done now."""
        resumed = only(allowed(SITUATIONS["step in doubt"], REQUESTS["done"]), ResumeRun)
        assert (resumed.is_error_over, resumed.last_successful_step) == (True, "book")

    def test_done_of_the_last_step_closes_the_run_with_its_output(self) -> None:
        """Nothing is left to run."""
        plan = Plan(pipeline="shop", steps=(CHECK, BOOK))
        rows = [*done(plan, "check"), row(plan, "book", S.IN_DOUBT, error=DOUBT)]
        closing = only(allowed(about(rows, plan=plan), REQUESTS["done"]), SucceedRun)
        assert closing.output == {"by": "hand"}

    def test_done_of_what_is_published_asks_whether_it_is_live(self) -> None:
        """A publish has two acceptances: a person's word is the first one only."""
        rows = [*done(SHOP, "check", "reserve", "charge", "book"), here("page", S.IN_DOUBT, error=DOUBT)]
        intent = allowed(about(rows), REQUESTS["done"])
        assert (tasks_of(intent), only(intent, Ask).key.direction) == (["verify page"], Direction.VERIFY)

    def test_not_done_waits_for_what_may_still_run(self) -> None:
        """R8: it has not happened yet, and could the next moment."""
        view = replace(SITUATIONS["step in doubt"], alive_until=LATER)
        assert "Ask again" in refused(view, REQUESTS["not_done"]).remedy

    def test_not_done_ends_an_open_question(self) -> None:
        """A person has answered; nobody else is asked."""
        rows = [*TWO, here("charge", S.IN_DOUBT, error=DOUBT), here("charge", S.PENDING, direction=ASKED)]
        view = view_of(RunState.IN_REVIEW, rows, reviews=[review_of(rows[-2], ReviewReason.DEFINITION_MISSING)])
        intent = allowed(view, REQUESTS["not_done"])
        assert only(intent, Close).row.direction is Direction.RECONCILE
        assert only(intent, Clear).row.step == "charge"

    def test_done_of_an_undo_marks_its_step(self) -> None:
        """Its output is void, as after an undo that ran."""
        assert only(allowed(SITUATIONS["undo in doubt"], REQUESTS["done"]), MarkUndone).row.step == "book"

    @pytest.mark.parametrize(
        ("decision", "leads_to"),
        [
            (ReviewDecision.DONE, RunState.ROLLED_BACK),
            (ReviewDecision.ACCEPT, RunState.FAILED),
            (ReviewDecision.NOT_DONE, RunState.ROLLING_BACK),
        ],
    )
    @pytest.mark.parametrize("state", [S.FAILED, S.IN_DOUBT, S.PENDING])
    def test_the_last_undo_ends_the_rollback(
        self, state: StepState, decision: ReviewDecision, leads_to: RunState
    ) -> None:
        """The preview's state is the one right after it, also where nothing is left to run."""
        undo = here("reserve", state, direction=BACK)
        view = view_of(
            RunState.IN_REVIEW,
            [*TWO, undo],
            reviews=[review_of(undo, ReviewReason.COMPENSATION_FAILED)],
            is_rollback_open=True,
        )
        assert allowed(view, self.resolve(decision)).leads_to is leads_to
        to_step = replace(view, run=replace(view.run, rollback_to=0))
        expected = RunState.PAUSED if leads_to is RunState.ROLLED_BACK else leads_to
        assert allowed(to_step, self.resolve(decision)).leads_to is expected

    @pytest.mark.parametrize("decision", list(ReviewDecision))
    def test_a_review_of_the_run_does_not_close_it_half_undone(self, decision: ReviewDecision) -> None:
        """Compensations that were planned would stay pending for ever in a run that is final."""
        view = replace(SITUATIONS["undo failed"], reviews=(review_of(None, ReviewReason.SYSTEMS_DISAGREE),))
        assert "`continue_rollback`" in refused(view, self.resolve(decision)).remedy

    def test_a_step_that_the_run_has_left_cannot_be_decided(self) -> None:
        """What follows it has its row already; a second one would be refused by the database."""
        view = replace(SITUATIONS["step failed"], reviews=(review_of(TWO[-1], ReviewReason.SYSTEMS_DISAGREE),))
        assert "stands at book" in refused(view, REQUESTS["done"]).why
        assert "`accept`" in refused(view, REQUESTS["not_done"]).remedy
        assert allowed(view, REQUESTS["accept"]).leads_to is RunState.FAILED

    def test_an_unknown_review_lists_the_open_ones(self) -> None:
        """A number that was typed wrong decides nothing."""
        refusal = refused(SITUATIONS["step failed"], self.resolve(ReviewDecision.DONE, review_id=99))
        assert "99" in refusal.why
        assert "7" in refusal.remedy

    def test_no_decision_is_refused(self) -> None:
        """Nobody guesses it."""
        assert "`not_done`" in refused(SITUATIONS["step failed"], Request(verb=Verb.RESOLVE)).remedy


class TestSkip:
    def test_a_step_in_doubt_is_recorded_as_failed(self) -> None:
        """Its effect may exist: a later rollback still asks about it and undoes it."""
        intent = allowed(SITUATIONS["step in doubt"], REQUESTS["skip"])
        assert only(intent, Close).row.step == "book"
        assert any("later rollback" in note for note in intent.notes)

    def test_of_another_step_than_where_the_run_stands_is_refused(self) -> None:
        """The name is a check."""
        assert "stands at book" in refused(SITUATIONS["parked"], Request(verb=Verb.SKIP_STEP, step="charge")).why

    def test_what_was_not_seen_live_keeps_its_output(self) -> None:
        """Only the sight of it is skipped: later steps may read it."""
        notes = allowed(SITUATIONS["not seen live"], REQUESTS["skip"]).notes
        assert not any("no output" in note for note in notes)


def test_a_deadline_is_told_before_it_is_lifted() -> None:
    """Whoever resumes a run after its time knows that."""
    view = SITUATIONS["parked"]
    late = replace(view, run=replace(view.run, deadline_at=AN_INSTANT))
    assert any("deadline" in note for note in allowed(late, RESUME).notes)


STATES: Final = [state for state in RunState if state is not RunState.WAITING]
VERBS: Final = [
    *REQUESTS.values(),
    Request(verb=Verb.ROLLBACK, to_step="reserve"),
    Request(verb=Verb.ROLLBACK, across_irreversible="so be it"),
    Request(verb=Verb.CANCEL, with_rollback=True),
    Request(verb=Verb.RERUN_COMPENSATION, step="reserve"),
    Request(verb=Verb.RETRY_STEP, step="charge"),
]
ERRORS: Final = (None, DOUBT, {"type": "OSError", "message": "x"}, {"type": "FailStep", "no_effect": True})


STATES_AT_END: Final[list[StepState]] = [state for state in StepState if state != S.KEPT]
STATES_BEFORE: Final[list[StepState]] = [S.SUCCEEDED, S.FAILED, S.UNDONE, S.SKIPPED]
STATES_OF_UNDO: Final[list[StepState]] = [state for state in StepState if state != S.UNDONE]
STATES_OF_QUESTION: Final[list[StepState]] = [state for state in StepState if state not in (S.UNDONE, S.KEPT)]


@st.composite
def recorded_runs(draw: st.DrawFn) -> RunView:
    """Any run of the shop, or of one with a step that cannot be undone, with any rows of up to two rounds."""
    steps = (CHECK, RESERVE, CHARGE, draw(st.sampled_from([BOOK, SHIP])), PAGE, RECEIPT)
    plan = Plan(pipeline="shop", steps=steps)
    rows: list[StepRecord] = []
    for round_number in range(1, draw(st.integers(1, 2)) + 1):
        started = draw(st.integers(1, len(steps)))
        for position in range(started):
            is_last = position == started - 1 and round_number == 1
            states = STATES_AT_END if is_last else STATES_BEFORE
            rows.append(draw(_rows(plan, position, states, Direction.FORWARD, round_number)))
            if draw(st.booleans()):
                rows.append(draw(_rows(plan, position, STATES_OF_UNDO, BACK, round_number)))
            questions = [d for d, q in ((ASKED, steps[position].reconcile), (SEEN, steps[position].verify)) if q]
            for direction in questions if draw(st.booleans()) else ():
                rows.append(draw(_rows(plan, position, STATES_OF_QUESTION, direction, round_number)))
    # Whatever lets a run go on decides its open reviews: one is always about the round that the run is in.
    asked = draw(st.sampled_from([None, *(one for one in rows if one.round == rows[-1].round)]))
    state = draw(st.sampled_from(STATES))
    return view_of(
        state,
        rows,
        plan=plan,
        reviews=[review_of(asked, draw(st.sampled_from(list(ReviewReason))))] if state is RunState.IN_REVIEW else [],
        is_rollback_open=draw(st.booleans()),
        alive_until=draw(st.sampled_from([None, LATER])),
        rollback_outcome=draw(st.sampled_from(list(RollbackOutcome))),
        rollback_to=draw(st.sampled_from([None, 1])),
    )


@st.composite
def _rows(
    draw: st.DrawFn, plan: Plan, position: int, states: list[StepState], direction: Direction, round_number: int
) -> StepRecord:
    state, name = draw(st.sampled_from(states)), plan.steps[position].name
    keys = {1: f"{RUN}:{name}", 2: draw(st.sampled_from([f"{RUN}:{name}", f"{RUN}:{name}:2"]))}
    return row(
        plan,
        name,
        state,
        direction=direction,
        round=round_number,
        attempt=draw(st.integers(1, 2)) if state in (S.RUNNING, S.FAILED) else draw(st.integers(0, 2)),
        error=draw(st.sampled_from(ERRORS))
        if state in (S.FAILED, S.SKIPPED)
        else DOUBT
        if state is S.IN_DOUBT
        else None,
        idempotency_key=keys[round_number],
    )


@given(recorded_runs(), st.sampled_from(VERBS))
def test_it_never_raises(view: RunView, request: Request) -> None:
    """Whatever is recorded, there is an answer, and a refusal that says something."""
    decided = decide(view, request)
    if isinstance(decided, Refusal):
        assert decided.why
        assert decided.remedy


@given(recorded_runs(), st.sampled_from(VERBS))
def test_nothing_in_doubt_runs_again_unless_a_person_says_that_it_has_not_happened(
    view: RunView, request: Request
) -> None:
    """R8: no verb but `not_done` lets a forward step in doubt run again that its contract does not let run again."""
    intent = decide(view, request)
    if isinstance(intent, Refusal) or request.decision is ReviewDecision.NOT_DONE:
        return
    for move in intent.moves:
        if isinstance(move, Clear | Reopen) and move.row.direction is Direction.FORWARD:
            doubtful = move.row.state is S.IN_DOUBT or (move.row.error or {}).get("type") == "in_doubt"
            assert not doubtful or view.plan.steps[move.row.position].idempotent
        if isinstance(move, Start):
            earlier = [r for r in view.steps if r.position == move.key.position and r.direction is Direction.FORWARD]
            for one in (r for r in earlier if r.state is S.IN_DOUBT):
                undos = [
                    r for r in view.steps if r.direction is BACK and (r.round, r.position) == (one.round, one.position)
                ]
                is_undone = any(r.state is S.SUCCEEDED for r in undos)
                is_older = any(r.round > one.round for r in earlier)
                assert is_undone or is_older or view.plan.steps[one.position].idempotent


@given(recorded_runs(), st.sampled_from(VERBS))
def test_a_step_that_starts_never_has_the_key_of_what_was_undone(view: RunView, request: Request) -> None:
    """The old key names an effect that was taken back: its provider would answer with that."""
    intent = decide(view, request)
    for move in intent.moves if isinstance(intent, Intent) else ():
        if isinstance(move, Start):
            undone = {r.idempotency_key for r in view.steps if r.position == move.key.position and r.state is S.UNDONE}
            assert move.idempotency_key not in undone
            assert view.find(move.key) is None


@given(recorded_runs())
def test_next_actions_are_the_decisions(view: RunView) -> None:
    """What is listed is what would be done, of whatever run."""
    actions = list_next_actions(view)
    for action in actions:
        decided = decide(view, action.request)
        assert action.is_possible == isinstance(decided, Intent)
        assert not action.is_safe or (isinstance(decided, Intent) and decided.is_safe)
    order = [(not action.is_possible, not action.is_safe) for action in actions]
    assert order == sorted(order)

"""Actions by hand on real databases: what the preview said is written at once, or nothing is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import pytest

from backout.compensations.actions import ActionDone, act, preview
from backout.compensations.requests import Request, ReviewDecision, TaskKind, Verb
from backout.compensations.reviews import open_review
from backout.errors import ActionRefused, StateChanged, UnknownRun
from backout.ledger import queries, transitions
from backout.ledger.session import Ledger
from backout.pipelines.contract import OnFailure, Plan
from backout.states import FINAL_RUN_STATES, Direction, ReviewReason, RollbackOutcome, RunState, StepState
from tests.support.history import assert_states_explained
from tests.support.ledgers import read_run, try_claim
from tests.support.recorder import RecordingEngine, make_engine
from tests.support.runs import RecordedRun, contract, undoing
from tests.support.scenes import (
    BY,
    REQUESTS,
    SCENES,
    doubted,
    entries_of,
    finish,
    parked,
    paused_on_the_way_back,
    reserved,
    resolved,
    retrying,
    rolled_back,
    rows_of,
    succeeded,
)
from tests.support.snapshots import take_snapshot
from tests.support.threads import run_together

DUE: Final = (StepState.READY, StepState.RETRY_SCHEDULED, StepState.WAITING, StepState.PENDING)


@pytest.fixture
def engine(ledger: Ledger) -> RecordingEngine:
    """An engine on the test's ledger that sends nothing."""
    return make_engine(ledger)


CELLS: Final = [
    pytest.param(scene, request, id=f"{name}-{label}")
    for name, scene in SCENES.items()
    for label, request in REQUESTS.items()
]


# What differs on MariaDB is tried below, and each arrow of it elsewhere.
@pytest.mark.parametrize("ledger", ["postgresql", "sqlite"], indirect=True)
@pytest.mark.parametrize(("scene", "request_"), CELLS)
def test_an_action_is_its_preview(
    ledger: Ledger, engine: RecordingEngine, scene: Callable[[Ledger], RecordedRun], request_: Request
) -> None:
    """What was shown is what is written and sent; what was refused writes nothing; no row is left without a future."""
    run = scene(ledger)
    before = take_snapshot(ledger)
    shown = preview(run.id, request_, engine=engine)
    assert take_snapshot(ledger) == before
    known = max(entry.id for entry in entries_of(run))
    if shown.refusal is not None:
        with pytest.raises(ActionRefused):
            act(run.id, request_, engine=engine, **BY)
        assert take_snapshot(ledger) == before
        return
    act_as_shown(run, engine, request_)
    new = entries_of(run, after=known)
    assert new
    assert {entry.actor for entry in new} <= {BY["actor"], "engine"}
    # The rows of a plan say why each is kept or left out; why the run turns back is said once.
    told = [entry for entry in new if entry.actor != "engine" and entry.direction in (None, Direction.FORWARD)]
    assert {entry.reason for entry in told} <= {BY["reason"]}
    assert told
    assert_states_explained(entries_of(run), read_run(ledger, run.id).state, rows_of(run))
    assert_nothing_is_left_behind(run)


def act_as_shown(run: RecordedRun, engine: RecordingEngine, request: Request) -> ActionDone:
    """Act, and compare with the preview: the state, and the messages with the tasks."""
    shown = preview(run.id, request, engine=engine)
    done = act(run.id, request, engine=engine, expecting=shown.version, **BY)
    assert (done.state, done.tasks, done.notes) == (shown.leads_to, shown.tasks, shown.notes)
    assert read_run(run.ledger, run.id).state is shown.leads_to
    sent = [message for chain in engine.sent for message in chain]
    hastened = [
        task for task in shown.tasks if request.verb is Verb.RETRY_STEP and not sent and task.kind is TaskKind.RUN
    ]
    assert [message.step for message in sent] == [task.step for task in shown.tasks if task not in hastened]
    rows = {row.key: row for row in rows_of(run)}
    for chain in engine.sent:
        assert rows[chain[0].key].state is StepState.READY
        assert rows[chain[0].key].task_id == chain[0].task_id
    return done


def assert_nothing_is_left_behind(run: RecordedRun) -> None:
    """Fail if some row waits for what never comes, or the sweeper looks for ever at a run that is over."""
    found, rows = read_run(run.ledger, run.id), rows_of(run)
    reviews = run.ledger.read(lambda connection: queries.list_reviews(connection, run.id, open_only=True))
    assert found.requires_human_review == bool(reviews)
    if found.state in FINAL_RUN_STATES:
        assert [row.key for row in rows if row.state in DUE or row.sweep_at is not None] == []
        assert not reviews
        assert found.next_retry_at is None
    if found.state in (RunState.PENDING, RunState.RUNNING, RunState.ROLLING_BACK):
        moving = (StepState.READY, StepState.RUNNING, StepState.RETRY_SCHEDULED, StepState.WAITING)
        assert any(row.state in moving and row.sweep_at is not None for row in rows)
        assert not reviews
    if found.state is RunState.RUNNING:
        assert (found.output, found.rollback_to) == (None, None)
        assert found.rollback_outcome is RollbackOutcome.NONE


class TestWhoIsFirst:
    def test_what_was_shown_must_still_hold(self, ledger: Ledger, engine: RecordingEngine) -> None:
        """R13: the run has moved on since the preview; the second person is told by whom, and writes nothing."""
        run = parked(ledger)
        shown = preview(run.id, REQUESTS["rollback"], engine=engine)
        act(run.id, REQUESTS["cancel"], engine=engine, **BY)
        before = take_snapshot(ledger)
        with pytest.raises(StateChanged, match="anna"):
            act(run.id, REQUESTS["rollback"], engine=engine, expecting=shown.version, actor="ben", reason="undo")
        assert take_snapshot(ledger) == before

    @pytest.mark.parametrize(
        ("one", "other"),
        [("resume", "cancel"), ("rollback", "resume"), ("skip", "rollback"), ("cancel", "cancel")],
    )
    def test_of_two_at_the_same_moment_one_wins(self, ledger: Ledger, one: str, other: str) -> None:
        """R13: on two connections, decided on the same preview: one is done whole, the other is told."""
        for _ in range(5):
            run = parked(ledger)
            shown = preview(run.id, REQUESTS[one], engine=make_engine(ledger))
            answers = run_together([attempt(run, REQUESTS[verb], shown.version) for verb in (one, other)])
            assert sorted(isinstance(answer, ActionDone) for answer in answers) == [False, True]
            done = next(answer for answer in answers if isinstance(answer, ActionDone))
            assert read_run(ledger, run.id).state is done.state
            assert_states_explained(entries_of(run), done.state, rows_of(run))

    def test_a_review_is_decided_once(self, ledger: Ledger) -> None:
        """Two who decide it at the same moment, each as they like: one decision is recorded and carried out."""
        for _ in range(5):
            run = doubted(ledger)
            works = [attempt(run, resolved(decision)) for decision in (ReviewDecision.DONE, ReviewDecision.ACCEPT)]
            answers = run_together(works)
            assert sum(isinstance(answer, ActionDone) for answer in answers) == 1
            (review,) = ledger.read(lambda connection: queries.list_reviews(connection, run.id))  # noqa: B023 - now
            assert review.decision in ("done", "accept")

    @pytest.mark.parametrize("verb", ["cancel", "pause", "skip", "rollback"])
    def test_a_worker_at_the_same_moment(self, ledger: Ledger, verb: str) -> None:
        """Either the worker runs the step and the person is told, or the person's action is done and nothing runs."""
        for _ in range(5):
            run = reserved(ledger)
            key = run.key("charge_card")
            claimed, answer = run_together([lambda: try_claim(ledger, key), attempt(run, REQUESTS[verb])])  # noqa: B023
            if isinstance(answer, ActionDone) and verb != "pause":
                assert claimed is None
            elif isinstance(answer, ActionDone):
                # A pause beside an attempt lets it end.
                running = [row for row in rows_of(run) if row.state is StepState.RUNNING]
                assert len(running) == (claimed is not None)
            else:
                assert claimed is not None

    def test_a_worker_that_was_first(self, ledger: Ledger, engine: RecordingEngine) -> None:
        """The attempt is seen, and the person is told to wait for it."""
        run = reserved(ledger)
        run.claim("charge_card")
        before = take_snapshot(ledger)
        with pytest.raises(ActionRefused, match="is running"):
            act(run.id, REQUESTS["cancel"], engine=engine, **BY)
        assert take_snapshot(ledger) == before

    def test_a_worker_that_comes_after(self, ledger: Ledger, engine: RecordingEngine) -> None:
        """Its message finds nothing to claim."""
        run = reserved(ledger)
        act(run.id, REQUESTS["cancel"], engine=engine, **BY)
        assert try_claim(ledger, run.key("charge_card")) is None


def attempt(run: RecordedRun, request: Request, expecting: str | None = None) -> Callable[[], Any]:
    """Return the work of one person, who gets an answer or is told."""

    def work() -> Any:
        try:
            return act(run.id, request, engine=make_engine(run.ledger), expecting=expecting, **BY)
        except (ActionRefused, StateChanged) as told:
            return told

    return work


class TestRounds:
    def test_a_restart_runs_what_was_undone_under_new_keys(self, ledger: Ledger, engine: RecordingEngine) -> None:
        """A new round of rows; those of the first one stay as they are."""
        run = rolled_back(ledger)
        first = rows_of(run)
        act_as_shown(run, engine, REQUESTS["resume"])
        found = read_run(ledger, run.id)
        assert (found.round, found.error_summary, found.rollback_outcome) == (2, None, RollbackOutcome.NONE)
        rows = rows_of(run)
        assert rows[: len(first)] == first
        (new,) = rows[len(first) :]
        assert (new.round, new.step, new.state) == (2, "check_address", StepState.READY)

    def test_a_single_undo_again_ends_as_the_rollback_did(self, ledger: Ledger, engine: RecordingEngine) -> None:
        """The run is closed again when it is done, and its step stays undone."""
        run = rolled_back(ledger)
        act_as_shown(run, engine, REQUESTS["rerun"])
        finish(run)
        found = read_run(ledger, run.id)
        assert (found.state, found.rollback_outcome) == (RunState.ROLLED_BACK, RollbackOutcome.COMPLETE)
        assert_states_explained(entries_of(run), found.state, rows_of(run))

    def test_a_late_rollback_of_a_success_is_walked_to_its_end(self, ledger: Ledger, engine: RecordingEngine) -> None:
        """Also long after it: the compensations run in reverse order, and the run says so."""
        run = succeeded(ledger)
        act_as_shown(run, engine, REQUESTS["rollback"])
        finish(run)
        assert read_run(ledger, run.id).state is RunState.ROLLED_BACK
        assert_nothing_is_left_behind(run)

    def test_a_paused_way_back_goes_on_where_it_stopped(self, ledger: Ledger, engine: RecordingEngine) -> None:
        """Nothing is undone twice, and nothing is left out."""
        run = paused_on_the_way_back(ledger)
        act_as_shown(run, engine, REQUESTS["continue"])
        finish(run)
        assert read_run(ledger, run.id).state is RunState.ROLLED_BACK
        assert_nothing_is_left_behind(run)


class TestKeyOfItsOwn:
    PLAN = Plan(
        pipeline="keyed",
        steps=(contract("pay", has_own_key=True, on_failure=OnFailure.REVIEW, **undoing("pay back")),),
    )

    def failed(self, ledger: Ledger) -> RecordedRun:
        """Record a run whose payment has failed under a key of its own, and let it go."""
        run = RecordedRun(ledger=ledger, plan=self.PLAN)
        claim = try_claim(ledger, run.key("pay"), own_key="order-1", exclusive_key="shop.pipelines.pay:order-1")
        assert claim is not None
        with ledger.transaction() as connection:
            error = {"type": "builtins.OSError", "message": "no answer"}
            assert transitions.fail_step(connection, claim, error=error, reason="no answer")
            reason = ReviewReason.RETRIES_EXHAUSTED_AFTER_WRITE
            assert open_review(connection, run.plan, claim.key, reason, reason="no answer", how="failed")
        return run

    def test_what_a_person_says_is_done_is_this_runs(self, ledger: Ledger, engine: RecordingEngine) -> None:
        """It holds its key again: another run takes its result, and its own rollback undoes it."""
        run = self.failed(ledger)
        act(run.id, REQUESTS["done"], engine=engine, **BY)
        assert rows_of(run)[0].exclusive_key == "shop.pipelines.pay:order-1"
        assert [task.step for task in preview(run.id, REQUESTS["rollback"], engine=engine).tasks] == ["pay"]

    def test_it_stays_another_runs_that_has_done_it_meanwhile(self, ledger: Ledger, engine: RecordingEngine) -> None:
        """There is one effect under one key: the run that holds it undoes it."""
        run, other = self.failed(ledger), RecordedRun(ledger=ledger, plan=self.PLAN)
        assert try_claim(ledger, other.key("pay"), own_key="order-1", exclusive_key="shop.pipelines.pay:order-1")
        act(run.id, REQUESTS["done"], engine=engine, **BY)
        assert rows_of(run)[0].exclusive_key is None


class TestRefused:
    @pytest.mark.parametrize(("actor", "reason"), [("", "x"), ("x", "  "), ("x" * 201, "x"), ("x", "y" * 2_001)])
    def test_nobody_without_a_name_or_a_reason(
        self, ledger: Ledger, engine: RecordingEngine, actor: str, reason: str
    ) -> None:
        """Whoever reads the entries later must be able to ask."""
        run = parked(ledger)
        before = take_snapshot(ledger)
        with pytest.raises(ActionRefused):
            act(run.id, REQUESTS["resume"], engine=engine, actor=actor, reason=reason)
        assert take_snapshot(ledger) == before

    @pytest.mark.parametrize("run_id", ["0198c0de-0000-7000-8000-00000000dead", "no id at all"])
    def test_a_run_that_is_not_there(self, ledger: Ledger, engine: RecordingEngine, run_id: str) -> None:
        """A word that was typed wrong."""
        with pytest.raises(UnknownRun):
            act(run_id, REQUESTS["resume"], engine=engine, **BY)


def test_retry_that_was_brought_forward_is_not_brought_forward_again(ledger: Ledger, engine: RecordingEngine) -> None:
    """R13: a double click writes one entry, although the run is in the same state after it."""
    run = retrying(ledger)
    seen = preview(run.id, REQUESTS["retry"], engine=engine)
    act(run.id, REQUESTS["retry"], engine=engine, expecting=seen.version, **BY)
    after = take_snapshot(ledger)
    with pytest.raises(StateChanged, match="anna"):
        act(run.id, REQUESTS["retry"], engine=engine, expecting=seen.version, **BY)
    assert take_snapshot(ledger) == after

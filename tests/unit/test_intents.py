"""What follows from each request about a run, in each state that a run can be in: done, or refused with a remedy."""

from __future__ import annotations

from typing import Final

import pytest

from backout.compensations.intents import decide
from backout.compensations.moves import DecideReview, Intent, MoveRun
from backout.compensations.next_actions import list_next_actions
from backout.compensations.requests import Refusal, RunView
from backout.states import RunState
from tests.support.situations import REQUESTS, SITUATIONS

ALLOWED: Final[dict[str, dict[str, str]]] = {
    "enqueued": {
        "pause": "Hold pause_run > paused",
        "skip": "Close ResumeRun Start > running: run:reserve",
        "rollback": "Close TurnRunBack > rolled_back",
        "cancel": "Close cancel_run > cancelled",
    },
    "step due": {
        "pause": "Hold pause_run > paused",
        "skip": "Close ResumeRun Start > running: run:book",
        "rollback": "Close TurnRunBack > rolling_back: undo:reserve",
        "cancel": "Close cancel_run > cancelled",
    },
    "step running": {
        "pause": "pause_run > paused",
    },
    "retry due": {
        "pause": "Hold pause_run > paused",
        "retry": "Hasten > running: run:charge",
        "skip": "Close ResumeRun Start > running: run:book",
        "rollback": "Close TurnRunBack > rolling_back: ask:charge undo:charge undo:reserve",
        "cancel": "Close cancel_run > cancelled",
    },
    "paused before a step": {
        "resume": "Ready ResumeRun > running: run:charge",
        "retry": "Ready ResumeRun > running: run:charge",
        "skip": "Close ResumeRun Start > running: run:book",
        "rollback": "Close TurnRunBack > rolling_back: undo:reserve",
        "cancel": "Close cancel_run > cancelled",
    },
    "paused beside an attempt": {
        "resume": "ResumeRun > running",
        "retry": "ResumeRun > running",
    },
    "paused, then failed": {
        "resume": "Reopen ResumeRun > running: run:book !",
        "retry": "Reopen ResumeRun > running: run:book !",
        "skip": "ResumeRun Start > running: run:page",
        "rollback": "TurnRunBack > rolling_back: undo:book undo:charge undo:reserve",
        "cancel": "cancel_run > cancelled",
    },
    "paused after its last step": {
        "resume": "ResumeRun SucceedRun > succeeded",
        "rollback": "TurnRunBack > rolling_back: undo:page undo:book undo:charge undo:reserve",
        "cancel": "cancel_run > cancelled",
    },
    "rolled back to a step": {
        "resume": "ResumeRun Start > running: run:charge",
        "retry": "ResumeRun Start > running: run:charge",
        "rollback": "TurnRunBack > rolling_back: undo:reserve",
        "cancel": "cancel_run > cancelled",
    },
    "parked": {
        "resume": "Reopen ResumeRun > running: run:book !",
        "retry": "Reopen ResumeRun > running: run:book !",
        "skip": "ResumeRun Start > running: run:page",
        "rollback": "TurnRunBack > rolling_back: undo:book undo:charge undo:reserve",
        "cancel": "cancel_run > cancelled",
    },
    "step failed": {
        "resume": "Reopen ResumeRun > running: run:book !",
        "retry": "Reopen ResumeRun > running: run:book !",
        "skip": "ResumeRun Start > running: run:page",
        "rollback": "TurnRunBack > rolling_back: undo:book undo:charge undo:reserve",
        "cancel": "cancel_run > cancelled",
        "done": "Settle ResumeRun Start > running: run:page",
        "not_done": "Reopen ResumeRun > running: run:book",
        "accept": "close_run > failed",
    },
    "step in doubt": {
        "skip": "Close ResumeRun Start > running: run:page",
        "rollback": "TurnRunBack > rolling_back: undo:book undo:charge undo:reserve",
        "cancel": "cancel_run > cancelled",
        "done": "Settle ResumeRun Start > running: run:page",
        "not_done": "Clear ResumeRun > running: run:book",
        "accept": "close_run > failed",
    },
    "question unanswered": {
        "resume": "Ask ResumeRun > running: ask:charge",
        "retry": "Ask ResumeRun > running: ask:charge",
        "skip": "Close ResumeRun Start > running: run:book",
        "rollback": "TurnRunBack > rolling_back: ask:charge undo:charge undo:reserve",
        "cancel": "cancel_run > cancelled",
        "done": "Settle ResumeRun Start > running: run:book",
        "not_done": "Clear ResumeRun > running: run:charge",
        "accept": "close_run > failed",
    },
    "idempotent step in doubt": {
        "resume": "Clear ResumeRun > running: run:reserve",
        "retry": "Clear ResumeRun > running: run:reserve",
        "skip": "Close ResumeRun Start > running: run:charge",
        "rollback": "TurnRunBack > rolling_back: undo:reserve",
        "cancel": "cancel_run > cancelled",
        "done": "Settle ResumeRun Start > running: run:charge",
        "not_done": "Clear ResumeRun > running: run:reserve",
        "accept": "close_run > failed",
    },
    "step held": {
        "resume": "Ready ResumeRun > running: run:charge",
        "retry": "Ready ResumeRun > running: run:charge",
        "skip": "Close ResumeRun Start > running: run:book",
        "rollback": "Close TurnRunBack > rolling_back: undo:reserve",
        "cancel": "Close cancel_run > cancelled",
        "done": "Settle ResumeRun Start > running: run:book",
        "not_done": "Ready ResumeRun > running: run:charge",
        "accept": "Close close_run > failed",
    },
    "not seen live": {
        "resume": "Ask ResumeRun > running: verify:page",
        "retry": "Ask ResumeRun > running: verify:page",
        "skip": "ResumeRun Start > running: run:receipt",
        "rollback": "TurnRunBack > rolling_back: undo:page undo:book undo:charge undo:reserve",
        "cancel": "cancel_run > cancelled",
        "done": "Settle ResumeRun Start > running: run:receipt",
        "not_done": "Ask ResumeRun > running: verify:page",
        "accept": "close_run > failed",
    },
    "review of the run": {
        "resume": "Reopen ResumeRun > running: run:book !",
        "retry": "Reopen ResumeRun > running: run:book !",
        "skip": "ResumeRun Start > running: run:page",
        "rollback": "TurnRunBack > rolling_back: undo:book undo:charge undo:reserve",
        "cancel": "cancel_run > cancelled",
        "accept": "close_run > failed",
    },
    "rolling back": {
        "pause": "Hold pause_run > paused",
    },
    "undo running": {
        "pause": "pause_run > paused",
    },
    "way back paused": {
        "resume": "continue_rollback WalkBack > rolling_back: undo:book undo:charge undo:reserve",
        "continue": "continue_rollback WalkBack > rolling_back: undo:book undo:charge undo:reserve",
    },
    "undo failed": {
        "resume": "Reopen continue_rollback WalkBack > rolling_back: undo:book undo:charge undo:reserve",
        "rerun": "Reopen continue_rollback WalkBack > rolling_back: undo:book undo:charge undo:reserve",
        "continue": "Reopen continue_rollback WalkBack > rolling_back: undo:book undo:charge undo:reserve",
        "done": "Settle MarkUndone continue_rollback WalkBack > rolling_back: undo:charge undo:reserve",
        "not_done": "Reopen continue_rollback WalkBack > rolling_back: undo:book undo:charge undo:reserve",
        "accept": "continue_rollback WalkBack > rolling_back: undo:charge undo:reserve",
    },
    "undo in doubt": {
        "rerun": "Reopen continue_rollback WalkBack > rolling_back: undo:book undo:charge undo:reserve !",
        "done": "Settle MarkUndone continue_rollback WalkBack > rolling_back: undo:charge undo:reserve",
        "not_done": "Reopen continue_rollback WalkBack > rolling_back: undo:book undo:charge undo:reserve",
        "accept": "Close continue_rollback WalkBack > rolling_back: undo:charge undo:reserve",
    },
    "undo held": {
        "resume": "continue_rollback WalkBack > rolling_back: undo:book undo:charge undo:reserve",
        "continue": "continue_rollback WalkBack > rolling_back: undo:book undo:charge undo:reserve",
        "done": "Settle MarkUndone continue_rollback WalkBack > rolling_back: undo:charge undo:reserve",
        "not_done": "continue_rollback WalkBack > rolling_back: undo:book undo:charge undo:reserve",
        "accept": "Close continue_rollback WalkBack > rolling_back: undo:charge undo:reserve",
    },
    "question on the way back unanswered": {
        "resume": "Ask continue_rollback WalkBack > rolling_back: ask:book undo:book undo:charge undo:reserve",
        "continue": "Ask continue_rollback WalkBack > rolling_back: ask:book undo:book undo:charge undo:reserve",
        "done": "Settle continue_rollback WalkBack > rolling_back: undo:book undo:charge undo:reserve",
        "not_done": "Settle Drop continue_rollback WalkBack > rolling_back: undo:charge undo:reserve",
        "accept": "Settle Close continue_rollback WalkBack > rolling_back: undo:charge undo:reserve",
    },
    "question on the way back failed": {
        "resume": "Ask continue_rollback WalkBack > rolling_back: ask:book undo:book undo:charge undo:reserve",
        "continue": "Ask continue_rollback WalkBack > rolling_back: ask:book undo:book undo:charge undo:reserve",
        "done": "Settle continue_rollback WalkBack > rolling_back: undo:book undo:charge undo:reserve",
        "not_done": "Settle Drop continue_rollback WalkBack > rolling_back: undo:charge undo:reserve",
        "accept": "Settle Close continue_rollback WalkBack > rolling_back: undo:charge undo:reserve",
    },
    "succeeded": {
        "rollback": "TurnRunBack > rolling_back: undo:page undo:book undo:charge undo:reserve",
    },
    "rolled back": {
        "resume": "ResumeRun Start > running: run:check",
        "retry": "ResumeRun Start > running: run:check",
        "rerun": "Reopen continue_rollback WalkBack > rolling_back: undo:book !",
    },
    "rolled back in part": {
        "resume": "ResumeRun Start > running: run:check !",
        "retry": "ResumeRun Start > running: run:check !",
        "rollback": "TurnRunBack > rolling_back: undo:book",
        "rerun": "Reopen continue_rollback WalkBack > rolling_back: undo:book",
        "continue": "Reopen continue_rollback WalkBack > rolling_back: undo:book",
    },
    "closed as it was": {
        "resume": "Reopen ResumeRun > running: run:book !",
        "retry": "Reopen ResumeRun > running: run:book !",
        "skip": "ResumeRun Start > running: run:page",
        "rollback": "TurnRunBack > rolling_back: undo:book undo:charge undo:reserve",
    },
    "cancelled before a step": {
        "resume": "ResumeRun Start > running: run:charge",
        "retry": "ResumeRun Start > running: run:charge",
        "rollback": "TurnRunBack > rolling_back: undo:reserve",
    },
    "cancelled in doubt": {
        "skip": "Close ResumeRun Start > running: run:page",
        "rollback": "TurnRunBack > rolling_back: undo:book undo:charge undo:reserve",
    },
}
"""Situation to what is allowed in it: moves > state after it: tasks in order, and `!` where it is not safe.

What is not listed is refused.
"""
REMEDIES: Final[dict[str, dict[str, str]]] = {
    "enqueued": {"rerun": "`rollback`", "continue": "`rollback`"},
    "step running": {"skip": "Pause", "rollback": "Pause", "cancel": "Pause"},
    "paused beside an attempt": {"skip": "Wait until it has ended", "rollback": "Wait", "cancel": "Wait"},
    "paused after its last step": {"retry": "`resume`", "skip": "`resume`"},
    "rolled back to a step": {"skip": "`resume`", "continue": "`rollback`"},
    "step in doubt": {"resume": "`resolve`", "retry": "`not_done`"},
    "review of the run": {"done": "`accept`", "not_done": "`resume`"},
    "rolling back": {
        "rollback": "`continue_rollback`",
        "cancel": "`continue_rollback`",
        "retry": "`continue_rollback`",
    },
    "way back paused": {"cancel": "`continue_rollback`", "rollback": "`continue_rollback`"},
    "undo failed": {"skip": "`accept`", "retry": "`continue_rollback`", "cancel": "`continue_rollback`"},
    "undo in doubt": {"resume": "`resolve`", "continue": "`not_done`"},
    "succeeded": {"resume": "`rollback`", "cancel": "`rollback`", "rerun": "`rollback`"},
    "rolled back": {"rollback": "`rerun_compensation`", "continue": "`rerun_compensation`"},
    "rolled back in part": {"skip": "`resume`"},
    "closed as it was": {"cancel": "`rollback`", "continue": "`rollback`"},
    "cancelled before a step": {"skip": "`resume`", "cancel": "`rollback`"},
    "cancelled in doubt": {"resume": "`skip_step`", "retry": "`rollback`"},
}
"""Situation and request to what the remedy of the refusal names."""
CELLS: Final = [
    pytest.param(view, label, id=f"{name}-{label}") for name, view in SITUATIONS.items() for label in REQUESTS
]


def say(intent: Intent) -> str:
    """Return an intent as the table says it."""
    moves = [move for move in intent.moves if not isinstance(move, DecideReview)]
    words = " ".join(move.arrow if isinstance(move, MoveRun) else type(move).__name__ for move in moves)
    tasks = " ".join(f"{task.kind.value}:{task.step}" for task in intent.tasks)
    return f"{words} > {intent.leads_to.value}{f': {tasks}' if tasks else ''}{'' if intent.is_safe else ' !'}"


@pytest.mark.parametrize("name", list(SITUATIONS))
def test_what_is_allowed_and_what_it_does(name: str) -> None:
    """Each verb of each situation: what it writes, where it leads to, which tasks run, and whether that is safe."""
    decided = {label: decide(SITUATIONS[name], request) for label, request in REQUESTS.items()}
    assert {label: say(one) for label, one in decided.items() if isinstance(one, Intent)} == ALLOWED[name]


def test_every_state_of_a_run_is_in_the_table() -> None:
    """No state is left out but the one that no arrow leads to."""
    assert {view.run.state for view in SITUATIONS.values()} == set(RunState) - {RunState.WAITING}


@pytest.mark.parametrize(("view", "label"), CELLS)
class TestEachCell:
    def test_a_refusal_says_why_and_what_to_do_instead(self, view: RunView, label: str) -> None:
        """Both are sentences for a person, without a state's raw name."""
        refusal = decide(view, REQUESTS[label])
        if isinstance(refusal, Refusal):
            assert refusal.why.strip()
            assert not refusal.why.endswith(".")
            assert refusal.remedy.endswith((".", "--wait)."))
            assert "_back" not in refusal.why
            assert "in_review" not in refusal.why

    def test_an_action_decides_every_open_review(self, view: RunView, label: str) -> None:
        """Nobody is asked about a run any more that has moved on, and nothing is decided that was not open."""
        intent = decide(view, REQUESTS[label])
        if isinstance(intent, Intent):
            decided = [move.review_id for move in intent.moves if isinstance(move, DecideReview)]
            assert sorted(decided) == sorted(review.id for review in view.reviews)

    def test_a_note_is_a_sentence(self, view: RunView, label: str) -> None:
        """A person reads it before they agree."""
        intent = decide(view, REQUESTS[label])
        for note in intent.notes if isinstance(intent, Intent) else ():
            assert note[0].isalnum()
            assert note.endswith(".")


@pytest.mark.parametrize(
    ("name", "label"), [(name, label) for name, remedies in REMEDIES.items() for label in remedies]
)
def test_the_remedy_names_what_to_do_instead(name: str, label: str) -> None:
    """Whoever is refused is told the next verb, not only that this was the wrong one."""
    refusal = decide(SITUATIONS[name], REQUESTS[label])
    assert isinstance(refusal, Refusal)
    assert REMEDIES[name][label] in refusal.remedy


@pytest.mark.parametrize("name", list(SITUATIONS))
def test_next_actions_agree_with_the_decisions(name: str) -> None:
    """What is listed as possible is done when asked for, what is not is refused, and what is unsafe is never safe."""
    view = SITUATIONS[name]
    for action in list_next_actions(view):
        intent = decide(view, action.request)
        assert action.is_possible == isinstance(intent, Intent)
        assert not action.is_safe or (isinstance(intent, Intent) and intent.is_safe)
        assert action.why.endswith(".")


@pytest.mark.parametrize("name", list(SITUATIONS))
def test_a_run_that_waits_for_somebody_has_a_way_out(name: str) -> None:
    """Where the engine does nothing more by itself, some verb leads on, unless the run has nothing left to do."""
    view = SITUATIONS[name]
    if view.run.state.is_settled:
        assert any(isinstance(decide(view, request), Intent) for request in REQUESTS.values())

"""The list of arrows makes sense in itself: what it allows is what the semantics say."""

from __future__ import annotations

import pytest

from backout import states
from backout.states import TRANSITIONS, Arrow, RunState, StepState

ENUMS: dict[str, type[RunState] | type[StepState]] = {"run": RunState, "step": StepState}
NOT_YET: dict[str, set[str]] = {
    # No arrow leads there yet: it comes with timers.
    "run": {RunState.WAITING},
    "step": set(),
}


STAY: frozenset[str] = frozenset({"settle_step", "resume_run"})
"""By hand, and the state may stay: what a person says of a row, or where the run goes on, is what changes."""


def arrows_of(subject: str) -> dict[str, Arrow]:
    return {name: arrow for name, arrow in TRANSITIONS.items() if arrow.subject == subject}


def engine_arrows_of(subject: str) -> dict[str, Arrow]:
    return {name: arrow for name, arrow in arrows_of(subject).items() if not arrow.is_by_hand}


@pytest.mark.parametrize("name", list(TRANSITIONS))
class TestArrow:
    def test_it_is_named_after_what_happens(self, name: str) -> None:
        """Each name is a verb and what it is done to, so that a function can have it."""
        assert name.isidentifier()
        assert name.rsplit("_", maxsplit=1)[-1] in (
            "again",
            "back",
            "run",
            "step",
            "rollback",
            "claim",
            "retry",
            "compensation",
            "question",
            "doubt",
            "wait",
        )

    def test_its_states_are_states_of_its_subject(self, name: str) -> None:
        """Nothing but states that exist, of the one thing that it changes."""
        arrow = TRANSITIONS[name]
        assert {ENUMS[arrow.subject](state) for state in arrow.sources | arrow.targets}

    def test_it_leads_somewhere_else(self, name: str) -> None:
        """An arrow from a state to itself would change nothing and still write an entry."""
        arrow = TRANSITIONS[name]
        assert arrow.targets
        assert bool(arrow.sources & arrow.targets) == (name in STAY)
        assert arrow.is_by_hand or name not in STAY

    def test_its_sources_are_listed_in_one_order(self, name: str) -> None:
        """The SQL built from them is the same in every process, so that databases plan it once."""
        listed = states.sources(name)
        assert list(listed) == sorted(TRANSITIONS[name].sources)


@pytest.mark.parametrize("subject", ["run", "step"])
class TestGraph:
    def test_every_state_but_those_to_come_is_reached(self, subject: str) -> None:
        """From the arrows that create a row one can walk to each state that has an arrow at all."""
        reached: set[str] = set()
        while True:
            more = {
                target
                for arrow in arrows_of(subject).values()
                if not arrow.sources or arrow.sources & reached
                for target in arrow.targets
            }
            if more <= reached:
                break
            reached |= more
        assert reached == {str(state) for state in ENUMS[subject]} - NOT_YET[subject]

    def test_a_row_can_be_born(self, subject: str) -> None:
        """Some arrow creates the row."""
        assert any(not arrow.sources for arrow in arrows_of(subject).values())


@pytest.mark.parametrize("state", sorted(states.FINAL_RUN_STATES))
class TestFinalRun:
    def test_the_engine_never_leaves_it(self, state: RunState) -> None:
        """A closed run stays closed until a person asks for more: no arrow of the engine starts from it."""
        assert [name for name, arrow in engine_arrows_of("run").items() if state in arrow.sources] == []

    def test_a_person_can_reopen_it(self, state: RunState) -> None:
        """A person leaves it by a late rollback, and goes on with it unless it has succeeded; by nothing else."""
        leaving = {name for name, arrow in arrows_of("run").items() if state in arrow.sources}
        assert leaving == {"turn_run_back"} | ({"resume_run"} if state is not RunState.SUCCEEDED else set())


@pytest.mark.parametrize("state", [RunState.PAUSED, RunState.PARKED, RunState.IN_REVIEW])
def test_a_stopped_run_is_left_only_by_hand(state: RunState) -> None:
    """Who was asked decides: from a run that waits for a person the engine can at most ask a person."""
    leaving = {name for name, arrow in engine_arrows_of("run").items() if state in arrow.sources}
    assert leaving <= {"review_run"}
    by_hand = {name for name, arrow in arrows_of("run").items() if arrow.is_by_hand and state in arrow.sources}
    assert by_hand == {"resume_run", "turn_run_back", "cancel_run", "close_run"}


def test_only_a_person_pauses_on_the_way_forward_and_cancels() -> None:
    """The engine never stops a run by itself without asking; it pauses one only where a rollback to a step ends."""
    assert {name for name, arrow in engine_arrows_of("run").items() if RunState.PAUSED in arrow.targets} == {
        "finish_rollback"
    }
    assert {name for name, arrow in arrows_of("run").items() if RunState.CANCELLED in arrow.targets} == {"cancel_run"}


def test_only_a_person_lets_a_run_go_on() -> None:
    """No arrow of the engine leads from a settled run to an active one."""
    for name, arrow in engine_arrows_of("run").items():
        if arrow.sources & states.SETTLED_RUN_STATES:
            assert not arrow.targets & states.ACTIVE_RUN_STATES, name


@pytest.mark.parametrize("state", sorted(states.FINISHED_STEP_STATES - {StepState.SUCCEEDED}))
def test_a_finished_step_stays_as_it_is(state: StepState) -> None:
    """R2: only a success can still change, to undone; a question only reads and may be asked again."""
    leaving = {name for name, arrow in engine_arrows_of("step").items() if state in arrow.sources}
    assert leaving <= {"ask_question"}


def test_what_was_undone_stays_undone_even_by_hand() -> None:
    """A restart opens a new round of rows: no row of history runs again once its effect was taken back."""
    assert [name for name, arrow in arrows_of("step").items() if StepState.UNDONE in arrow.sources] == []


def test_a_success_can_only_be_undone() -> None:
    """R2: no arrow makes a recorded success run again; a question only reads and may be asked again."""
    leaving = {name for name, arrow in engine_arrows_of("step").items() if StepState.SUCCEEDED in arrow.sources}
    assert leaving == {"undo_step", "ask_question"}


def test_only_an_answer_leads_out_of_doubt() -> None:
    """R8: a step in doubt waits for its reconcile function or a person."""
    leaving = {name for name, arrow in engine_arrows_of("step").items() if StepState.IN_DOUBT in arrow.sources}
    assert leaving == {"confirm_step", "clear_doubt"}


def test_no_action_by_hand_touches_a_running_attempt() -> None:
    """R5: no person takes a row away from the worker that runs it."""
    touching = [name for name, arrow in arrows_of("step").items() if StepState.RUNNING in arrow.sources]
    assert [name for name in touching if TRANSITIONS[name].is_by_hand] == []


def test_only_a_claim_makes_a_step_run() -> None:
    """R3: a row runs when it is claimed, for the first two by the holder of the claim before it, with its end."""
    names = {name for name, arrow in arrows_of("step").items() if StepState.RUNNING in arrow.targets}
    assert names == {"create_step", "claim_compensation", "claim_step"}


@pytest.mark.parametrize("state", list(RunState))
def test_final_and_settled_runs(state: RunState) -> None:
    """The engine does nothing more by itself where a run is final or waits for a person."""
    waits_for_person = state in (RunState.IN_REVIEW, RunState.PARKED, RunState.PAUSED)
    assert state.is_final == (state in ("succeeded", "rolled_back", "failed", "cancelled"))
    assert state.is_settled == (state.is_final or waits_for_person)


@pytest.mark.parametrize("state", list(StepState))
def test_finished_steps(state: StepState) -> None:
    """A step is finished when no attempt of it is running or expected."""
    assert state.is_finished == (state in ("succeeded", "failed", "skipped", "kept", "undone"))


def test_the_list_cannot_be_changed() -> None:
    """Everything is derived from it at import, so a later change would be seen by some and not by others."""
    with pytest.raises(TypeError):
        TRANSITIONS["cheat"] = TRANSITIONS["claim_step"]  # type: ignore[index]

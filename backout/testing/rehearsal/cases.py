"""What one rehearsal has shown, and what a test may ask of all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from backout.pipelines.definition import Step
from backout.states import RunState
from backout.testing.rehearsal.books import RehearsedCall
from backout.testing.rehearsal.places import Place, PlaceKind

SHOWN_STORIES: Final = 1
"""How many stories a failed assertion tells; the others are like it, mostly."""


class Why(StrEnum):
    """Why the effect of a step is still there when the engine does nothing more."""

    KEPT = "kept"
    """By contract: `keep=`."""
    IRREVERSIBLE = "irreversible"
    """By contract: `irreversible=`."""
    PASSED_OVER = "passed_over"
    """By contract: the step or its compensation failed, and `on_failure="continue"`."""
    HELD = "held"
    """The run is not over: it waits for a person."""
    UNEXPLAINED = "unexplained"
    """Nothing in the contract says so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftBehind:
    """An effect that is still there although its run did not succeed, or does not know of it.

    Attributes:
        reason: in words; the contract's own where it gives one.
    """

    step: str
    why: Why
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a person would have been asked.

    Attributes:
        reason: a `ReviewReason`, or `"parked"` for a run that waits to be resumed.
        step: that it is about; empty when it is about the run.
        text: in words.
    """

    reason: str
    step: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RehearsedCase:
    """One rehearsal: a run that went wrong at one place, or nowhere.

    Attributes:
        place: where.
        was_reached: the run has come to the place; False where one of the functions failed before.
        state: of the run at the end.
        operator_state: the same in the contract's words.
        undone: steps whose compensation returned, in the order in which they were undone.
        left_behind: effects that are still there, in the order of the steps; empty for a run that succeeded.
        asked: what a person would be asked.
        calls: of steps and compensations, in order, with idempotency key and attempt.
        done_twice: steps (`charge_card`) and compensations (`undo charge_card`) that had an effect more than once.
        story: what the ledger says happened, one line for each entry.
    """

    place: Place
    was_reached: bool
    state: RunState
    operator_state: str
    undone: tuple[str, ...]
    left_behind: tuple[LeftBehind, ...]
    asked: tuple[Asked, ...]
    calls: tuple[RehearsedCall, ...]
    done_twice: tuple[str, ...]
    story: tuple[str, ...]

    @property
    def unexplained(self) -> tuple[LeftBehind, ...]:
        """What was left behind and no contract says so."""
        return tuple(left for left in self.left_behind if left.why is Why.UNEXPLAINED)

    @property
    def is_problem(self) -> bool:
        """True when something was done twice or left behind without contract, or the smooth run did not succeed."""
        is_not_smooth = self.place.kind is PlaceKind.SMOOTH and self.state is not RunState.SUCCEEDED
        return bool(self.done_twice or self.unexplained) or is_not_smooth


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsal:
    """All rehearsals of a pipeline, in the order of its steps."""

    pipeline: str
    cases: tuple[RehearsedCase, ...]

    @property
    def problems(self) -> tuple[RehearsedCase, ...]:
        """The cases in which something was done twice or left behind without contract."""
        return tuple(case for case in self.cases if case.is_problem)

    def assert_nothing_left_behind(self, *, except_for: Iterable[Step[..., Any] | str] = ()) -> None:
        """Fail where an effect is still there at the end of a run that did not succeed.

        What is held for a person does not count: the run is not over. See `assert_nobody_is_asked`.

        Args:
            except_for: steps, or their names, whose effect may stay, such as those that are kept by contract.

        Raises:
            AssertionError: names each case and what was left behind.
        """
        allowed = {step if isinstance(step, str) else step.name for step in except_for}

        def say(case: RehearsedCase) -> list[str]:
            found = [left for left in case.left_behind if left.why is not Why.HELD and left.step not in allowed]
            return [f"{left.step} was left behind ({left.why.value}: {left.reason})" for left in found]

        self._assert_none(say, "something was left behind", "Name the steps whose effect may stay in `except_for`.")

    def assert_nobody_is_asked(self, *, except_for: Iterable[Step[..., Any] | str] = ()) -> None:
        """Fail where a person would have to decide.

        Args:
            except_for: steps, their names, or reason codes of reviews about which a person may be asked.

        Raises:
            AssertionError: names each case and what would be asked.
        """
        allowed = {step if isinstance(step, str) else step.name for step in except_for}

        def say(case: RehearsedCase) -> list[str]:
            found = [asked for asked in case.asked if asked.step not in allowed and asked.reason not in allowed]
            return [f"a person is asked about {asked.step}: {asked.reason}, {asked.text}" for asked in found]

        self._assert_none(
            say,
            "a person is asked",
            "A step that is idempotent or has a reconcile function needs nobody; else name it in `except_for`.",
        )

    def assert_nothing_done_twice(self) -> None:
        """Fail where something that is not idempotent had its effect more than once.

        Raises:
            AssertionError: names each case and what was done twice.
        """
        self._assert_none(
            lambda case: [f"{what} had its effect twice" for what in case.done_twice],
            "something was done twice",
            "Look at its reconcile function: it may have said that what happened did not happen.",
        )

    def _assert_none(self, say: Callable[[RehearsedCase], Sequence[str]], what: str, remedy: str) -> None:
        found = [(case, lines) for case in self.cases if (lines := say(case))]
        if not found:
            return
        told = [f"{what} in {len(found)} of {len(self.cases)} rehearsals of {self.pipeline}:"]
        for number, (case, lines) in enumerate(found):
            told.append(f"\n  {case.place}  [{case.place.id}]\n    ended as {case.state.value}: {case.operator_state}")
            told += [f"    {line}" for line in lines]
            told += [f"      · {line}" for line in case.story] if number < SHOWN_STORIES else []
        raise AssertionError("\n".join([*told, f"\n{remedy}"]))

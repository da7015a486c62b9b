"""What can be done about a run now, in groups: safe, only if a person knows more than the record, or not and why."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Self

from backout.compensations.next_actions import NextAction
from backout.compensations.requests import RunView, Verb
from backout.states import Direction, RunState, StepState

NOTHING: Final = "Nothing can be done about this run now."
_GO_ON: Final = (Verb.CONTINUE_ROLLBACK, Verb.RETRY_STEP, Verb.RESUME)


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupedActions:
    """What can be done about a run.

    Attributes:
        safe: nothing would be done twice or lost, as far as the record can tell.
        unsure: only if a person knows more than the record does.
        refused: each says why, and what to do instead.
    """

    safe: Sequence[NextAction]
    unsure: Sequence[NextAction]
    refused: Sequence[NextAction]

    @classmethod
    def of(cls, view: RunView, actions: Sequence[NextAction]) -> Self:
        """Group actions; of several that would do the same only one stays."""
        safe = [action for action in actions if action.is_possible and action.is_safe]
        unsure = [action for action in actions if action.is_possible and not action.is_safe]
        return cls(
            safe=list(_merge(view, safe)),
            unsure=list(_merge(view, unsure)),
            refused=[action for action in actions if not action.is_possible],
        )


def is_pointless(view: RunView, action: NextAction) -> bool:
    """Return whether it would only undo once more what is undone."""
    if action.request.verb is not Verb.RERUN_COMPENSATION:
        return False
    undos = [row for row in view.steps if row.direction is Direction.COMPENSATION and row.step == action.request.step]
    return bool(undos) and undos[-1].state is StepState.SUCCEEDED


def _merge(view: RunView, actions: Sequence[NextAction]) -> Iterator[NextAction]:
    """Leave out a verb that would do what another does: retry, resume and continue often do the same."""
    best = {action.why: action for action in actions if action.request.verb in _GO_ON}
    for action in actions:
        if action.request.verb in _GO_ON:
            alike = [other for other in actions if other.request.verb in _GO_ON and other.why == action.why]
            best[action.why] = min(alike, key=lambda other: _prefer(view, other.request.verb))
    for action in actions:
        if action.request.verb not in _GO_ON or best[action.why] is action:
            yield action


def _prefer(view: RunView, verb: Verb) -> int:
    has_ended = view.run.state.is_final or view.run.state is RunState.PAUSED
    order = (Verb.CONTINUE_ROLLBACK, *((Verb.RESUME, Verb.RETRY_STEP) if has_ended else (Verb.RETRY_STEP, Verb.RESUME)))
    return order.index(verb)

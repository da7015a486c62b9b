"""What a customer may be told about a run: derived from what is recorded, so that it cannot disagree with it. Pure."""

from __future__ import annotations

from typing import assert_never

from backout.pipelines.contract import Plan
from backout.states import RunState


def customer_message(plan: Plan | None, state: RunState, operator_state: str) -> str:
    """Return what a customer may be told about a run now.

    Args:
        plan: as recorded with the run; its message for the operator's state comes before the one for the run state.
            `None`: it cannot be read, and what it says is not known.
        state: of the run.
        operator_state: of the run.

    Returns:
        The text of the plan, or a safe one: it says nothing of steps, systems or errors, and promises nothing.
    """
    messages = plan.customer_messages if plan is not None else {}
    return messages.get(operator_state) or messages.get(state) or _safe_message(state)


def read_plan(stored: object) -> Plan | None:
    """Return a stored plan; `None` when it is of a format that this release does not know."""
    try:
        return Plan.from_json(stored)
    except ValueError:
        return None


def _safe_message(state: RunState) -> str:
    match state:
        case RunState.PENDING:
            return "We have received your request."
        case RunState.RUNNING:
            return "We are working on your request."
        case RunState.WAITING:
            return "We are working on your request. It is waiting for something at the moment."
        case RunState.PAUSED:
            return "Your request is on hold at the moment. Nothing is lost."
        case RunState.PARKED:
            return "Your request is on hold at the moment. What has been done so far is kept."
        case RunState.IN_REVIEW:
            return "Something needs our attention. We are looking into it and nothing is lost."
        case RunState.ROLLING_BACK:
            # Not "could not be completed": a request that was completed long ago can be taken back as well.
            return "Your request is being reversed."
        case RunState.SUCCEEDED:
            # Not "all is done": a step that may fail may have failed.
            return "We have finished working on your request."
        case RunState.ROLLED_BACK:
            return "Your request was reversed."
        case RunState.FAILED:
            return "Your request could not be completed as planned. Please contact us if you have questions."
        case RunState.CANCELLED:
            return "Your request was cancelled."
        case _ as never:
            assert_never(never)

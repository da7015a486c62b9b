"""What a person sees before they act: the preview, and what the record says about its danger."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from backout.compensations.actions import Preview, load_view, preview
from backout.compensations.intents import decide
from backout.compensations.moves import Intent
from backout.compensations.next_actions import NextAction, list_next_actions
from backout.compensations.plan import plan_rollback
from backout.compensations.requests import Request, ReviewDecision, RunView, TaskKind, Verb
from backout.identifiers import RunId
from backout.ledger.session import Ledger, LedgerConnection
from backout.pipelines.engine import Engine
from backout.pipelines.masking import NO_SECRETS, Secrets
from backout.pipelines.secrets import secrets_of
from backout.states import Direction, StepState
from backout.views.masking import mask_preview, mask_view

_JUDGED = (Verb.RETRY_STEP, Verb.RESUME)


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """A run as it is, and what a request would do to it.

    Nothing in it has the values of sensitive fields.

    Attributes:
        warning: why it is not certain to be safe; empty when it is.
        secrets: what must not be shown of the run, also when it has been done.
    """

    view: RunView
    preview: Preview
    warning: str
    secrets: Secrets = field(default=NO_SECRETS, repr=False)

    @property
    def is_possible(self) -> bool:
        """It would be done."""
        return self.preview.refusal is None

    @property
    def is_busy(self) -> bool:
        """It is refused only because an attempt is running."""
        return self.preview.refusal is not None and self.preview.refusal.is_busy


def look_at(engine: Engine, run_id: RunId, request: Request) -> Look:
    """Look at a run before something is done to it. Changes nothing.

    Raises:
        UnknownRun: the ledger has no such run.
    """
    view, secrets = engine.ledger.read(lambda connection: _read(connection, run_id))
    seen = mask_preview(preview(run_id, request, engine=engine), view.plan, secrets)
    return Look(view=view, preview=seen, warning=_warn(view, seen, request), secrets=secrets)


def read_view(ledger: Ledger, run_id: RunId) -> RunView:
    """Read a run as a person sees it when they decide, without the values of sensitive fields.

    Raises:
        UnknownRun: the ledger has no such run.
    """
    return ledger.read(lambda connection: _read(connection, run_id))[0]


def _read(connection: LedgerConnection, run_id: RunId) -> tuple[RunView, Secrets]:
    view = load_view(connection, run_id)
    secrets = secrets_of(connection, view.run, view.plan)
    return mask_view(view, secrets), secrets


def list_actions(view: RunView) -> Sequence[NextAction]:
    """Return what can be done about a run: safe ones first, then possible ones, then what is refused, and why."""
    return sorted([*list_next_actions(view), *_roll_back_to_irreversible(view)], key=_rank)


def _rank(action: NextAction) -> tuple[bool, bool, int]:
    """Return the place of an action: what leaves things as they are is safe, and seldom what is wanted first."""
    request = action.request
    ends = request.verb in (Verb.PAUSE, Verb.CANCEL) or request.decision is ReviewDecision.ACCEPT
    place = 2 if ends else int(request.verb is Verb.RERUN_COMPENSATION)
    return not action.is_possible, not action.is_safe, place


def _roll_back_to_irreversible(view: RunView) -> Iterator[NextAction]:
    """Where a step that cannot be undone keeps the whole from being undone: what came after it can be."""
    blocked_by = plan_rollback(view.plan, view.steps).blocked_by
    if blocked_by is None:
        return
    request = Request(verb=Verb.ROLLBACK, to_step=blocked_by.step)
    intent = decide(view, request)
    if isinstance(intent, Intent) and intent.tasks:
        undone = ", then ".join(task.step for task in intent.tasks if task.kind is TaskKind.UNDO)
        why = " ".join([f"Undoes {undone}; {blocked_by.step} and what came before it stays.", *intent.notes])
        yield NextAction(request=request, is_possible=True, is_safe=intent.is_safe, why=why)


def needs_output(view: RunView, request: Request) -> bool:
    """Return whether a decision needs to be told what the step would have returned."""
    review = view.review(request.review_id)
    if request.decision is not ReviewDecision.DONE or review is None or review.position is None:
        return False
    if review.direction is Direction.COMPENSATION:
        return False
    place = (review.round, review.position, Direction.FORWARD)
    row = next((step for step in view.steps if (step.round, step.position, step.direction) == place), None)
    return row is not None and row.state is not StepState.SUCCEEDED


def _warn(view: RunView, seen: Preview, request: Request) -> str:
    if seen.refusal is not None:
        return ""
    if request.verb in _JUDGED:
        # The judgement of the record is stricter than the preview's: a step that failed may have had its effect.
        judged = next((action for action in list_next_actions(view) if action.request.verb is request.verb), None)
        if judged is not None and judged.is_possible and not judged.is_safe:
            return judged.why
    return "" if seen.is_safe else " ".join(seen.notes) or "Something may be done twice, or be lost."

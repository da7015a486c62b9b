"""The verbs by hand, one function each, as a user calls them; and what is safe to do next.

Each takes a handle or a run's id, an `actor` and a `reason`, and does what `actions.act` says; a preview of the same
request changes nothing: `preview(run, Request(verb=Verb.ROLLBACK))`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TypedDict, Unpack

from backout.compensations.actions import ActionDone, act, engine_and_id, load_view
from backout.compensations.next_actions import NextAction, list_next_actions
from backout.compensations.requests import Request, ReviewDecision, Verb
from backout.errors import ActionRefused, StateChanged
from backout.jsontext import JsonValue
from backout.ledger import queries, transitions
from backout.pipelines.engine import Engine, current_engine
from backout.pipelines.handle import RunHandle
from backout.pipelines.secrets import read_secrets


class Asked(TypedDict, total=False):
    """What every verb takes besides its own arguments; see `act`."""

    expecting: str | None
    engine: Engine | None


def next_safe_actions(run: RunHandle | str, *, engine: Engine | None = None) -> tuple[NextAction, ...]:
    """Return what can be done about a run now: safe actions first, then possible ones, then what is refused, and why.

    Raises:
        UnknownRun: the ledger has no such run.
    """
    found, run_id = engine_and_id(run, engine)
    return list_next_actions(found.ledger.read(lambda connection: load_view(connection, run_id)))


def retry_step(
    run: RunHandle | str, *, actor: str, reason: str, step: str | None = None, **asked: Unpack[Asked]
) -> ActionDone:
    """Run the step again at which the run stopped, with its retries again. Raises as `act`."""
    return act(run, Request(verb=Verb.RETRY_STEP, step=step), actor=actor, reason=reason, **asked)


def resume(run: RunHandle | str, *, actor: str, reason: str, **asked: Unpack[Asked]) -> ActionDone:
    """Let a run go on where it stopped; one that was rolled back starts again, in a new round. Raises as `act`."""
    return act(run, Request(verb=Verb.RESUME), actor=actor, reason=reason, **asked)


def skip_step(
    run: RunHandle | str, *, actor: str, reason: str, step: str | None = None, **asked: Unpack[Asked]
) -> ActionDone:
    """Go on without the step at which the run stopped. Raises as `act`."""
    return act(run, Request(verb=Verb.SKIP_STEP, step=step), actor=actor, reason=reason, **asked)


def rollback(
    run: RunHandle | str,
    *,
    actor: str,
    reason: str,
    to_step: str | None = None,
    across_irreversible: str | None = None,
    **asked: Unpack[Asked],
) -> ActionDone:
    """Undo what a run did, all of it or back to a step; also long after it succeeded. Raises as `act`.

    Args:
        run: a handle, or a run's id.
        actor: who asks.
        reason: why.
        to_step: the last step that is left as it is; the run is paused then, and `resume` starts it again from there.
        across_irreversible: why the others may be undone although a step that cannot be undone stays (R7).
        asked: see `act`.
    """
    request = Request(verb=Verb.ROLLBACK, to_step=to_step, across_irreversible=across_irreversible)
    return act(run, request, actor=actor, reason=reason, **asked)


def rerun_compensation(
    run: RunHandle | str, step: str, *, actor: str, reason: str, **asked: Unpack[Asked]
) -> ActionDone:
    """Run the compensation of one step again, from the ledger, with its real arguments. Raises as `act`."""
    return act(run, Request(verb=Verb.RERUN_COMPENSATION, step=step), actor=actor, reason=reason, **asked)


def continue_rollback(run: RunHandle | str, *, actor: str, reason: str, **asked: Unpack[Asked]) -> ActionDone:
    """Let a rollback go on that has stopped; compensations that failed run again. Raises as `act`."""
    return act(run, Request(verb=Verb.CONTINUE_ROLLBACK), actor=actor, reason=reason, **asked)


def resolve(
    review_id: int,
    decision: ReviewDecision | str,
    *,
    actor: str,
    reason: str,
    output: JsonValue = None,
    **asked: Unpack[Asked],
) -> ActionDone:
    """Decide a review: `done` (with what the step would have returned), `not_done` or `accept`.

    Raises:
        ActionRefused: there is no such review, or the decision does not fit it; nothing was written.
        ValueError: `decision` is none.
    """
    request = Request(verb=Verb.RESOLVE, review_id=review_id, decision=ReviewDecision(decision), output=output)
    engine = asked.get("engine") or current_engine()
    review = engine.ledger.read(lambda connection: queries.find_review(connection, review_id))
    if review is None:
        why = f"the ledger has no review {review_id}"
        raise ActionRefused(verb="resolve", run_id="unknown", why=why, remedy="`backout reviews list` shows them.")
    return act(review.run_id, request, actor=actor, reason=reason, **asked)


def cancel(
    run: RunHandle | str, *, actor: str, reason: str, with_rollback: bool = False, **asked: Unpack[Asked]
) -> ActionDone:
    """Stop a run; what was done stays, or is undone `with_rollback`. Raises as `act`."""
    return act(run, Request(verb=Verb.CANCEL, with_rollback=with_rollback), actor=actor, reason=reason, **asked)


def pause(run: RunHandle | str, *, actor: str, reason: str, **asked: Unpack[Asked]) -> ActionDone:
    """Let nothing new start until the run is resumed; an attempt that runs goes on to its end. Raises as `act`."""
    return act(run, Request(verb=Verb.PAUSE), actor=actor, reason=reason, **asked)


def assign_review(
    review_id: int,
    assignee: str,
    *,
    actor: str,
    reason: str = "taken",
    from_assignee: str | None = None,
    engine: Engine | None = None,
) -> None:
    """Say who looks after an open review. One transaction; sends nothing.

    Args:
        review_id: of the review.
        assignee: who looks after it from now on.
        actor: who says so.
        reason: why.
        from_assignee: who has looked after it until now; `None`: nobody.
        engine: whose ledger it is; `None`: the current Celery app's.

    Raises:
        ActionRefused: there is no such review, or it is decided.
        StateChanged: somebody else looks after it than `from_assignee`.
    """
    found = engine or current_engine()
    with found.ledger.transaction() as connection:
        review = queries.find_review(connection, review_id)
        if review is None or review.decision is not None:
            why = "it is decided" if review is not None else f"the ledger has no review {review_id}"
            run_id = review.run_id if review is not None else "unknown"
            remedy = "`backout reviews list` shows the open ones."
            raise ActionRefused(verb="assign_review", run_id=run_id, why=why, remedy=remedy)
        expected = replace(review, assignee=from_assignee)
        why = read_secrets(connection, review.run_id).hide(reason)
        if not transitions.assign_review(connection, expected, assignee=assignee, actor=actor, reason=why):
            raise StateChanged(
                verb="assign_review",
                run_id=review.run_id,
                expected=f"review {review_id} of {from_assignee or 'nobody'}",
                found=f"that of {review.assignee or 'nobody'}",
                by="",
            )

"""The arrows of a review: opened with its run's (`review_run`), taken by somebody, decided."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, exists, insert, literal, select, update

from backout.events import Event
from backout.ledger.dialects import now
from backout.ledger.models import entry, review, run
from backout.ledger.records import ReviewRecord

_LONGEST_DECISION: Final = 40


def resolve_review(connection: Connection, found: ReviewRecord, *, decision: str, actor: str, reason: str) -> bool:
    """Record what a person has decided. Needs the transaction of what follows from it.

    The run asks for a person until the last of its reviews is decided.

    Args:
        connection: the transaction.
        found: the review.
        decision: at most 40 characters: `done`, `not_done`, `accept`, or the verb that made it moot.
        actor: who has decided.
        reason: why, kept as the review's note.

    Returns:
        False when it was decided already: nothing was written.
    """
    values = {"decision": decision[:_LONGEST_DECISION], "decided_by": actor, "note": reason, "decided_at": now()}
    changed = connection.execute(
        update(review).where(review.c.id == found.id, review.c.decision.is_(None)).values(values),
    )
    if changed.rowcount != 1:
        return False
    is_open = exists(select(literal(1)).where(review.c.run_id == found.run_id, review.c.decision.is_(None)))
    connection.execute(
        update(run).where(run.c.id == found.run_id, ~is_open).values(requires_human_review=False, updated_at=now()),
    )
    _tell(
        connection,
        found,
        Event.REVIEW_RESOLVED,
        actor=actor,
        reason=reason,
        detail={"review_id": found.id, "decision": decision},
    )
    return True


def assign_review(connection: Connection, found: ReviewRecord, *, assignee: str, actor: str, reason: str) -> bool:
    """Record who looks after an open review. Needs a transaction.

    Returns:
        False when it is decided, or has another assignee than the one seen: nothing was written.
    """
    changed = connection.execute(
        update(review)
        .where(
            review.c.id == found.id,
            review.c.decision.is_(None),
            review.c.assignee.is_(None) if found.assignee is None else review.c.assignee == found.assignee,
        )
        .values(assignee=assignee),
    )
    if changed.rowcount != 1:
        return False
    detail = {"review_id": found.id, "assignee": assignee}
    _tell(connection, found, Event.REVIEW_ASSIGNED, actor=actor, reason=reason, detail=detail)
    return True


def _tell(
    connection: Connection,
    found: ReviewRecord,
    event: Event,
    *,
    actor: str,
    reason: str,
    detail: dict[str, object],
) -> None:
    connection.execute(
        insert(entry).values(
            at=now(),
            run_id=found.run_id,
            event=event.value,
            actor=actor,
            reason=reason,
            detail=detail,
        ),
    )

"""The operator's state of a run, built from the words of its steps. Pure."""

from __future__ import annotations

from backout.pipelines.contract import StepContract


def state_while_running(last_done: StepContract | None, current: StepContract) -> str:
    """Return what holds while a step is due or running, such as `lead_created_enrichment_pending`."""
    return _join(last_done.done if last_done else None, current.pending)


def state_while_verifying(published: StepContract) -> str:
    """Return what holds while what a step has published is not seen live yet, such as `page_published_live_pending`."""
    return _join(published.done, "live_pending")


def state_when_done(last_done: StepContract | None, failed: StepContract | None = None) -> str:
    """Return what holds when the run is closed, such as `booking_reserved_notification_failed`."""
    return _join(last_done.done if last_done else None, failed.failed if failed else None) or "nothing_to_do"


def state_when_stopped(last_done: StepContract | None, current: StepContract, *, how: str) -> str:
    """Return what holds when a person is waited for: `how` is `pending`, `failed`, `in_doubt` or `live_unknown`."""
    word = current.pending if how == "pending" else current.failed if how == "failed" else f"{current.name}_{how}"
    return _join(last_done.done if last_done else None, word)


def state_of_rollback(cause: StepContract, *, how: str, is_failed: bool = True) -> str:
    """Return what holds from the turn on: `how` is `rolling_back`, `rolled_back`, `rollback_partial` or the like.

    Args:
        cause: the step that failed; the last one that started, where a person has asked.
        how: far it is.
        is_failed: `cause` has failed.
    """
    return _join(cause.failed if is_failed else cause.done, how)


def state_by_hand(last_done: StepContract | None, *, how: str) -> str:
    """Return what holds after a person's decision: `how` is `cancelled` or `closed`."""
    return _join(last_done.done if last_done else None, how)


def _join(*words: str | None) -> str:
    return "_".join(word for word in words if word)

"""The Celery chain made from a rollback plan: it carries the compensations, the ledger's claims keep their order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from celery import Celery, Signature

from backout.pipelines.message import StepMessage


def send_chain(app: Celery, messages: Sequence[StepMessage], **first: Any) -> None:
    """Send compensations as one chain of immutable signatures, in the order given.

    The caller caps the length: a message carries all links that are left (370 bytes each), and the last link to run
    sends the next chain.

    Args:
        app: the Celery app.
        messages: with their task ids from the ledger; the first one's `parent_id` is the task that caused the rollback.
        first: Celery's options for sending the first link, which is published here; the others are by Celery, one
            after the other.

    Raises:
        kombu.exceptions.OperationalError: the broker did not take it; the sweeper will send it again.
    """
    head, *rest = (_link(app, message) for message in messages)
    # What `chain.apply_async` does in the end. It would drop `parent_id`, and copies the options of its first link,
    # which a connection does not survive. The links that follow are listed from the last one to the next one.
    head.apply_async(root_id=messages[0].root_id, chain=rest[::-1] or None, **first)


def _link(app: Celery, message: StepMessage) -> Signature:
    return Signature(
        message.task,
        args=(),
        kwargs=message.keywords(),
        options=message.sending_options(),
        app=app,
        immutable=True,
    )

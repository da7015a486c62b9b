"""The Celery chain made from a rollback plan: it carries the compensations, the ledger's claims keep their order."""

from __future__ import annotations

from collections.abc import Sequence

from celery import Celery, Signature, chain

from backout.pipelines.message import StepMessage


def send_chain(app: Celery, messages: Sequence[StepMessage]) -> None:
    """Send compensations as one chain of immutable signatures, in the order given.

    The caller caps the length: a message carries all links that are left (370 bytes each), and the last link to run
    sends the next chain.

    Args:
        app: the Celery app.
        messages: with their task ids from the ledger; the first one's `parent_id` is the task that caused the rollback.

    Raises:
        kombu.exceptions.OperationalError: the broker did not take it; the sweeper will send it again.
    """
    links = [_link(app, message) for message in messages]
    # A `parent_id` given to `chain.apply_async` is dropped; the one in the first signature's options is kept.
    root_id = messages[0].root_id
    canvas = links[0] if len(links) == 1 else chain(*links, app=app)
    canvas.apply_async(root_id=root_id)


def _link(app: Celery, message: StepMessage) -> Signature:
    return Signature(
        message.task,
        args=(),
        kwargs=message.keywords(),
        options=message.sending_options(),
        app=app,
        immutable=True,
    )

"""The only place that publishes. Always after the commit: what a crash swallows, the sweeper sends again."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Final

from celery import Celery
from kombu.exceptions import OperationalError

from backout.compensations.chain import send_chain
from backout.pipelines.message import StepMessage

logger = logging.getLogger(__name__)

RETRY_POLICY: Final[dict[str, Any]] = {
    "max_retries": 2,
    "interval_start": 0,
    "interval_step": 0.2,
    "interval_max": 0.5,
}
"""A broker that is away is told about within a second. With `retry=False` kombu's own connect retry takes six."""


def send_step(app: Celery, message: StepMessage) -> bool:
    """Send one step's message.

    Returns:
        False when the broker did not take it. The row stays ready, and the sweeper sends it again.
    """
    return _send(
        lambda: app.send_task(
            message.task,
            kwargs=message.keywords(),
            retry=True,
            retry_policy=RETRY_POLICY,
            add_to_parent=False,
            **message.sending_options(),
        ),
        message,
    )


def send_compensations(app: Celery, messages: Sequence[StepMessage]) -> bool:
    """Send compensations as one Celery chain, in this order. Returns as `send_step`."""
    return _send(lambda: send_chain(app, messages), messages[0]) if messages else True


def _send(publish: Any, message: StepMessage) -> bool:
    try:
        publish()
    except (OperationalError, OSError) as error:
        logger.warning(
            "backout: the broker did not take the message of %s in run %s (%s); it is recorded as ready and the "
            "sweeper will send it",
            message.step,
            message.key.run_id,
            error,
        )
        return False
    return True

"""The only place that publishes. Always after the commit: what a crash swallows, the sweeper sends again."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, Final

from celery import Celery
from kombu import Connection, Producer
from kombu.exceptions import OperationalError

from backout.compensations.chain import send_chain
from backout.pipelines.message import StepMessage
from backout.tasks.broker import RETRY_POLICY, Transport

logger = logging.getLogger(__name__)

_is_taking: Final = [True]
"""Whether the broker took the last message of this process."""


def is_broker_taking() -> bool:
    """Return whether the broker took the last message that this process sent; True before the first one.

    What is only news is not sent to a broker that does not take what matters: each try may last as long again.
    """
    return _is_taking[0]


def note_broker(*, is_taking: bool) -> None:
    """Remember whether the broker took what was sent elsewhere in this process."""
    _is_taking[0] = is_taking


def send_step(app: Celery, message: StepMessage) -> bool:
    """Send one step's message. Returns within 20 seconds, whatever the broker does, unless settings were changed.

    Returns:
        False when the broker did not take it. The row stays ready, and the sweeper sends it again.
    """

    def publish(options: dict[str, Any]) -> None:
        app.send_task(
            message.task,
            kwargs=message.keywords(),
            add_to_parent=False,
            **message.sending_options(),
            **options,
        )

    return _send(app, publish, message)


def send_compensations(app: Celery, messages: Sequence[StepMessage]) -> bool:
    """Send compensations as one Celery chain, in this order. Returns as `send_step`."""
    if not messages:
        return True
    return _send(app, lambda options: send_chain(app, messages, **options), messages[0])


def _send(app: Celery, publish: Callable[[dict[str, Any]], None], message: StepMessage) -> bool:
    _is_taking[0] = False
    try:
        with app.producer_or_acquire() as producer:
            _publish(producer, publish)
    except (OperationalError, OSError) as error:
        logger.warning(
            "backout: the broker did not take the message of %s in run %s (%s); it is recorded as ready and the "
            "sweeper will send it",
            message.step,
            message.key.run_id,
            error,
        )
        return False
    except Exception:
        # The outcome is committed: nothing that is wrong with a message may look like a failure of the step.
        logger.exception(
            "backout: the message of %s in run %s cannot be sent; it is recorded as ready, the sweeper will try again",
            message.step,
            message.key.run_id,
        )
        return False
    _is_taking[0] = True
    return True


def _publish(producer: Producer, publish: Callable[[dict[str, Any]], None]) -> None:
    connection: Connection = producer.connection
    options: dict[str, Any] = {"producer": producer, "retry": True, "retry_policy": RETRY_POLICY}
    if connection.transport.driver_type == Transport.AMQP:
        # A queue that was deleted is otherwise noticed by nobody: its declaration is cached, the message is dropped.
        options["mandatory"] = True
    try:
        publish(options)
    except (OperationalError, *connection.connection_errors, *connection.channel_errors) as error:
        # Kombu replaces a producer's connection after an error, and with it the declarations that it remembers, so that
        # the next send declares its queue again, and a confirmation that is still to come, which would be taken for
        # the next message's. But it closes it in order first, for which an alarmed broker lets it wait ten seconds.
        connection.collect()
        # Refusals of a single message, such as NO_ROUTE, are no errors of kombu's own.
        raise OperationalError(str(error)) from error

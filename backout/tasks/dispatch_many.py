"""Publishing many steps' messages without waiting for the broker's answer to each; always after the commit."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Final

from celery import Celery
from kombu import Connection, Producer
from kombu.exceptions import BatchPublishError, OperationalError

from backout.pipelines.message import StepMessage
from backout.tasks.broker import RETRY_POLICY, SOCKET_SECONDS
from backout.tasks.dispatch import note_broker

logger = logging.getLogger(__name__)

PY_AMQP: Final = "py-amqp"
"""Kombu's name for the library whose channels are known here."""

TRIES: Final = 2
"""The second one is on a new connection: it mends one that had died unnoticed, as `RETRY_POLICY` does for one message.

What the first one has sent all the same is sent twice, which is harmless: only a claim runs anything.
"""


def send_steps(app: Celery, messages: Sequence[StepMessage]) -> int:
    """Send the messages of many steps. Returns within half a minute, whatever the broker does, and never raises.

    Redis gets them in pipelines of a thousand, RabbitMQ one after the other and confirms them together; other brokers
    as `send_step` sends.

    Returns:
        How many the broker is not known to have taken: RabbitMQ says which, elsewhere it is all of them when one fails.
        Their rows stay ready, and the sweeper sends them again.
    """
    if not messages:
        return 0
    note_broker(is_taking=False)
    try:
        unsent, why = _try_to_send(app, messages)
    except Exception:
        # The runs are committed: nothing that is wrong with a message may look like a failure to enqueue.
        logger.exception(
            "backout: %d messages of %s cannot be sent; they are recorded as ready, the sweeper will try again",
            len(messages),
            messages[0].step,
        )
        return len(messages)
    if unsent:
        logger.warning(
            "backout: the broker did not take %d of %d messages of %s (%s); they are recorded as ready and the sweeper "
            "will send them",
            unsent,
            len(messages),
            messages[0].step,
            why,
        )
    note_broker(is_taking=not unsent)
    return unsent


def _try_to_send(app: Celery, messages: Sequence[StepMessage]) -> tuple[int, object]:
    """Return how many were not taken, and why."""
    problem: Exception | None = None
    for _ in range(TRIES):
        try:
            with app.producer_or_acquire() as producer:
                return _publish(app, producer, messages)
        except (OperationalError, OSError) as error:
            problem = error
    return len(messages), problem


def _publish(app: Celery, producer: Producer, messages: Sequence[StepMessage]) -> tuple[int, object]:
    connection: Connection = producer.connection
    try:
        connection.ensure_connection(**RETRY_POLICY)
        if connection.transport.driver_name == PY_AMQP:
            return _publish_confirmed(app, connection, messages)
        if not producer.supports_batch_publish:
            return _publish_one_by_one(app, producer, messages)
        with producer.batch():
            _publish_each(app, producer, messages)
    except (OperationalError, BatchPublishError, *connection.connection_errors, *connection.channel_errors) as error:
        # As after a single message: the next send is to connect and declare anew, without closing this one in order.
        connection.collect()
        raise OperationalError(str(error.__cause__ or error)) from error
    return 0, None


def _publish_one_by_one(app: Celery, producer: Producer, messages: Sequence[StepMessage]) -> tuple[int, object]:
    """Publish with an answer to each; none is tried after the first that was not taken, which may have taken long."""
    connection: Connection = producer.connection
    for number, message in enumerate(messages):
        try:
            _publish_each(app, producer, [message], retry=True, retry_policy=RETRY_POLICY)
        except (OperationalError, *connection.connection_errors, *connection.channel_errors) as error:
            connection.collect()
            return len(messages) - number, error
    return 0, None


def _publish_each(app: Celery, producer: Producer, messages: Sequence[StepMessage], **options: Any) -> None:
    first = messages[0]
    for message in messages:
        # Kombu copies a queue to see whether it is declared: a fifth of a send. A router may send each elsewhere.
        is_declared = (
            message is not first
            and not app.amqp.routes
            and (message.task, message.options) == (first.task, first.options)
        )
        app.send_task(
            message.task,
            kwargs=message.keywords(),
            add_to_parent=False,
            producer=producer,
            # A repeated publish may go over another channel than those that are answered for together.
            **{"retry": False, **({"declare": []} if is_declared else {}), **message.sending_options(), **options},
        )


def _publish_confirmed(app: Celery, connection: Connection, messages: Sequence[StepMessage]) -> tuple[int, object]:
    channel = connection.channel()
    confirmations, sent_events = _Confirmations(channel), _SentEvents()
    producer = app.amqp.Producer(channel, auto_declare=False)
    # A message without a queue is otherwise dropped without a word: see `send_step`.
    _publish_each(app, producer, messages, mandatory=True, event_dispatcher=sent_events)
    confirmations.wait()
    refused, why = len(confirmations.refused), confirmations.why
    try:
        sent_events.publish_all(app, producer)
        confirmations.wait()
    except Exception as error:
        logger.warning("backout: Celery's events of %d messages were not sent: %s", len(messages), error)
        connection.collect()
    if refused:
        # A queue that was deleted is to be declared anew by the next send.
        connection.collect()
    else:
        connection.maybe_close_channel(channel)
    return refused, why


class _SentEvents:
    """Keeps Celery's own events of what is sent (`task_send_sent_event`) until RabbitMQ has the messages.

    Celery's dispatcher hides that RabbitMQ does not answer, and waits five seconds for each event: 158 s for thirty
    messages during a memory alarm.
    """

    def __init__(self) -> None:
        self._events: list[tuple[str, dict[str, Any]]] = []

    def publish(self, kind: str, fields: dict[str, Any], _producer: Producer, **_: Any) -> None:
        """Keep an event; called by Celery."""
        self._events.append((kind, fields))

    def publish_all(self, app: Celery, producer: Producer) -> None:
        """Publish what was kept."""
        dispatcher = app.events.Dispatcher(enabled=False, buffer_while_offline=False)
        for kind, fields in self._events:
            dispatcher.publish(kind, fields, producer, retry=False)


class _Confirmations:
    """What RabbitMQ says of the messages that are published on a channel of our own.

    Attributes:
        refused: ids of the tasks whose message came back, because no queue is there for it, or was not accepted.
        why: what RabbitMQ said of the last one of them.
    """

    def __init__(self, channel: Any) -> None:
        self._channel = channel
        self._published = 0
        self._waiting: dict[int, str] = {}
        self.refused: set[str] = set()
        self.why: object = None
        channel.confirm_select()
        channel.events["basic_ack"].add(self._acknowledged)
        channel.events["basic_nack"].add(self._not_accepted)
        channel.events["basic_return"].add(self._came_back)
        # With `confirm_publish` a channel has a method of its own here, which waits for each confirmation.
        channel.basic_publish = self._publish

    def wait(self) -> None:
        """Wait until RabbitMQ has answered for all of them.

        Raises:
            TimeoutError: it has said nothing for five seconds.
        """
        while self._waiting:
            self._channel.connection.drain_events(timeout=SOCKET_SECONDS)

    def _publish(self, message: Any, **options: Any) -> Any:
        # Counted as RabbitMQ counts on this channel, events among them.
        self._published += 1
        self._waiting[self._published] = message.properties.get("correlation_id", "")
        return type(self._channel).basic_publish(self._channel, message, **options)

    def _acknowledged(self, tag: int, multiple: bool) -> None:
        for one in self._tags(tag, multiple):
            self._waiting.pop(one, None)

    def _not_accepted(self, tag: int, multiple: bool) -> None:
        self.why = "RabbitMQ did not accept it"
        self.refused |= {self._waiting.pop(one) for one in self._tags(tag, multiple)}

    def _came_back(self, error: Exception, _exchange: str, _routing_key: str, message: Any) -> None:
        self.why = error
        self.refused.add(message.properties["correlation_id"])

    def _tags(self, tag: int, multiple: bool) -> list[int]:
        # Tags wait in the order in which they were given.
        return [one for one in self._waiting if one <= tag] if multiple else [tag]

"""A stack's part of a broker that it shares with others: what waits there, and how to lose and to multiply it."""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Protocol

import redis
from amqp import Channel, NotFound
from kombu import Connection

from backout.testing.servers import Broker
from backout.testing.servers.rabbitmq import RabbitMQ


class Message:
    """A Celery message as it stands in the broker."""

    def __init__(self, stored: dict[str, Any]) -> None:
        self.stored = stored
        self.headers: dict[str, Any] = stored["headers"]
        self.properties: dict[str, Any] = stored["properties"]
        self.task: str = self.headers["task"]
        self.run_id: str = self.headers["root_id"]
        arguments, keywords, embedded = json.loads(base64.b64decode(stored["body"]))
        self.arguments: list[Any] = arguments
        self.keywords: dict[str, Any] = keywords
        self.chain: list[dict[str, Any]] = embedded["chain"] or []
        """The links that follow, last one first."""

    @property
    def size_bytes(self) -> int:
        """What the broker stores."""
        return len(json.dumps(self.stored))


class Corner(Protocol):
    """What a stack asks of either broker."""

    url: str
    settings: dict[str, Any]
    """Celery's settings that keep the stack in its corner; JSON."""

    def messages(self, queue: str) -> list[Message]:
        """Return the messages that wait in a queue and have not been delivered, oldest first."""

    def unacknowledged(self) -> list[Message]:
        """Return the messages that were delivered and are not acknowledged yet."""

    def lose_messages(self, queue: str) -> None:
        """Remove all messages that wait in a queue."""

    def copy_messages(self, copies: int, queue: str) -> None:
        """Put each message that waits in a queue there several times."""

    def is_idle(self) -> bool:
        """Tell whether no message waits in the default queue, and none that was delivered is being worked on."""

    def close(self) -> None:
        """Leave nothing in the broker."""


class RedisCorner:
    """All keys have a prefix of their own."""

    def __init__(self, broker: Broker, *, visibility_seconds: int) -> None:
        self.url = broker.url
        self.prefix = f"backout-test-{uuid.uuid4().hex}:"
        transport = {
            "global_keyprefix": self.prefix,
            "visibility_timeout": visibility_seconds,
            "unacked_restore_interval": 1,
            "unacked_restore_throttle": 1,
        }
        self.settings: dict[str, Any] = {"broker_transport_options": transport}
        self.redis = redis.Redis.from_url(broker.client_url)

    def messages(self, queue: str) -> list[Message]:
        """Return what is in the queue's lists."""
        return [
            Message(json.loads(text)) for key in self._keys(queue) for text in reversed(self.redis.lrange(key, 0, -1))
        ]

    def unacknowledged(self) -> list[Message]:
        """Return what kombu has put aside until it is acknowledged."""
        return [Message(json.loads(text)[0]) for text in self.redis.hvals(f"{self.prefix}unacked")]

    def lose_messages(self, queue: str) -> None:
        """Delete the queue's lists, as a broker that failed over would."""
        self.redis.delete(*self._keys(queue))

    def copy_messages(self, copies: int, queue: str) -> None:
        """Push each message again."""
        for key in self._keys(queue):
            for raw in self.redis.lrange(key, 0, -1):
                self.redis.lpush(key, *[raw] * (copies - 1))

    def is_idle(self) -> bool:
        """Look into the lists of the default queue and at what is put aside."""
        return not self.messages("celery") and not self.unacknowledged()

    def close(self) -> None:
        """Delete all keys."""
        # A test's own broker may be gone already.
        with self.redis, suppress(redis.ConnectionError):
            for key in self.redis.scan_iter(f"{self.prefix}*"):
                self.redis.delete(key)

    def _keys(self, queue: str) -> list[str]:
        # Kombu keeps a list for each step of priority.
        return [f"{self.prefix}{queue}{step}" for step in ("", "\x06\x163", "\x06\x166", "\x06\x169")]


class AmqpCorner:
    """A default queue of its own, on a node of ours or of the environment's.

    Args:
        arguments: of the default queue, for example `{"x-queue-type": "quorum"}`.
    """

    def __init__(self, broker: RabbitMQ, *, arguments: Mapping[str, Any]) -> None:
        self.broker = broker
        self.url = broker.url
        self.queue = f"backout-test-{uuid.uuid4().hex}"
        self.arguments = dict(arguments)
        self.settings: dict[str, Any] = {
            "task_default_queue": self.queue,
            "test_queue_arguments": self.arguments,
            # Kombu shares one pool of connections among all apps with the same URL and options: without a name of its
            # own, the end of one stack would close the connections of the next.
            "broker_transport_options": {"client_properties": {"connection_name": self.queue}},
        }

    def messages(self, queue: str) -> list[Message]:
        """Take the waiting messages and give them back at once; none may be awaited by a worker meanwhile."""
        found = []
        with self._channel() as channel:
            while (got := channel.basic_get(self._name(queue))) is not None:
                headers = got.properties["application_headers"]
                body = base64.b64encode(got.body if isinstance(got.body, bytes) else got.body.encode()).decode()
                found.append(Message({"headers": headers, "properties": {}, "body": body}))
        # The messages go back with the connection.
        return found

    def unacknowledged(self) -> list[Message]:
        """Refuse: an AMQP broker counts such messages, and shows them to nobody."""
        raise NotImplementedError(
            "RabbitMQ shows no unacknowledged messages; count them with `RabbitMQ.count_messages`"
        )

    def lose_messages(self, queue: str) -> None:
        """Purge the queue."""
        with self._channel() as channel:
            channel.queue_purge(self._name(queue))

    def delete_queue(self) -> None:
        """Delete the default queue with all that is in it."""
        with self._channel() as channel:
            channel.queue_delete(self.queue)

    def declare_queue(self, arguments: Mapping[str, Any]) -> None:
        """Declare the default queue with other arguments than the app will."""
        with self._channel() as channel:
            channel.queue_declare(self.queue, durable=True, auto_delete=False, arguments=dict(arguments))

    def has_queue(self) -> bool:
        """Tell whether the default queue exists."""
        try:
            with self._channel() as channel:
                channel.queue_declare(self.queue, passive=True)
        except NotFound:
            return False
        return True

    def copy_messages(self, copies: int, queue: str) -> None:
        """Refuse: what comes several times is tested on the other broker."""
        raise NotImplementedError("messages are multiplied on Redis only")

    def is_idle(self) -> bool:
        """Ask the node, which takes a second."""
        return self.broker.count_messages(self.queue) == (0, 0)

    def close(self) -> None:
        """Delete the queue."""
        with suppress(OSError):
            self.delete_queue()

    def _name(self, queue: str) -> str:
        return self.queue if queue == "celery" else queue

    @contextmanager
    def _channel(self) -> Iterator[Channel]:
        with Connection(self.url) as connection, connection.channel() as channel:
            yield channel


def make_corner(
    broker: Broker | RabbitMQ, *, visibility_seconds: int, queue_arguments: Mapping[str, Any] | None
) -> RedisCorner | AmqpCorner:
    """Return a new corner of a broker."""
    if isinstance(broker, RabbitMQ):
        return AmqpCorner(broker, arguments=queue_arguments or {})
    return RedisCorner(broker, visibility_seconds=visibility_seconds)

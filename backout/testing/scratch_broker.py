"""A broker in this process's memory that no other app shares, and the Celery app whose messages go there only.

The way of a message is Celery's own, from `send_task` to the worker's request and its acknowledgement; only the pool,
the consumer and the clock are left out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from celery import Celery, Task
from celery.worker.request import Request
from kombu import Connection, Producer
from kombu.message import Message
from kombu.transport import memory, virtual

from backout.identifiers import RunId
from backout.ledger.records import StepKey
from backout.pipelines.message import KEYWORD
from backout.states import Direction
from backout.tasks.registration import FORCED_OPTIONS
from backout.tasks.step_task import run_step

WORKER_NAME: Final = "scratch"
"""What entries name as the worker."""


class ScratchApp(Celery):
    """A Celery app that sends to a memory of its own, whatever the environment or the configuration names."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self._transport: Final = _own_transport()
        self._connection_in_memory: Final = Connection(transport=self._transport)
        self._producer_in_memory: Final = Producer(self._connection_in_memory)
        # Neither CELERY_LOADER nor CELERY_CONFIG_MODULE nor Django may have a say here.
        super().__init__(
            "scratch",
            loader="celery.loaders.app:AppLoader",
            config_source={**settings, "task_always_eager": False},
            fixups=[],
            set_as_current=False,
        )

    def connection_for_write(self, url: Any = None, **options: Any) -> Connection:
        """Return a connection to the memory."""
        return Connection(transport=self._transport)

    connection_for_read = connection_for_write

    @contextmanager
    def producer_or_acquire(self, producer: Producer | None = None) -> Iterator[Producer]:
        """Give the one producer that there is."""
        yield producer or self._producer_in_memory

    def next_delivery(self) -> Delivery | None:
        """Take a message that waits, also one with a countdown; `None` when none waits."""
        channel = self._connection_in_memory.default_channel
        for queue in sorted(self._transport.Channel.queues):
            message = channel.basic_get(queue)
            if message is not None:
                return Delivery(app=self, message=message)
        return None

    def forget_messages(self) -> None:
        """Lose every message that waits."""
        while (delivery := self.next_delivery()) is not None:
            delivery.message.ack()

    def close(self) -> None:
        """Forget the memory too."""
        self._connection_in_memory.release()
        super().close()

    def task_named(self, name: str) -> Task[..., Any]:
        """Return the engine's task of a step or companion; made where its own belongs to another app."""
        if name not in self.tasks:
            self.task(name=name, bind=True, **FORCED_OPTIONS)(_run)
        task: Task[..., Any] = self.tasks[name]
        return task


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A message at a worker that has not acknowledged it."""

    app: ScratchApp
    message: Message

    @property
    def key(self) -> StepKey | None:
        """The row that it is for; `None` when it is no message of the engine."""
        body = self.message.payload[1].get(KEYWORD)
        if body is None:
            return None
        return StepKey(
            run_id=RunId(body["run"]),
            round=body["round"],
            position=body["position"],
            direction=Direction(body["direction"]),
        )

    @property
    def is_delayed(self) -> bool:
        """True for a message that a worker would keep for a while."""
        return self.message.headers.get("eta") is not None

    def execute(self) -> None:
        """Run its task as a worker would, and acknowledge it."""
        task = self.app.task_named(self.message.headers["task"])
        request = Request(
            self.message,
            app=self.app,
            task=task,
            hostname=WORKER_NAME,
            on_ack=lambda *_: self.message.ack(),
            on_reject=lambda *_: self.message.reject(),
        )
        request.execute()

    def give_back(self) -> None:
        """Put it back for the next worker; one that was acknowledged early is gone."""
        if not self.message.acknowledged:
            self.message.requeue()


def _own_transport() -> Any:
    """Return kombu's memory transport with queues of its own: its class would share them with every app."""
    own: dict[str, Any] = {"events": defaultdict(set), "queues": {}}
    channel = type("OwnChannel", (memory.Channel,), own)
    return type("OwnTransport", (memory.Transport,), {"Channel": channel, "global_state": virtual.BrokerState()})


def _run(task: Task[..., Any], *arguments: Any, **keywords: Any) -> Any:
    return run_step(task, arguments, keywords)

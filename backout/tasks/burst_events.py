"""Celery's task events of the steps in a burst, as the worker's main process sends them of messages.

They go out in groups (`task-multi`), as the worker's own do: one message to the broker for each step, none where nobody
monitors.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Final

from celery import Task, states
from celery.utils.saferepr import saferepr

from backout.pipelines.message import StepMessage
from backout.tasks.dispatch import is_broker_taking
from backout.tasks.noticeboard import board
from backout.tasks.runtime import Runtime

logger = logging.getLogger(__name__)

_GROUP: Final = "task"
_ENDED: Final = {states.FAILURE: "task-failed", states.RETRY: "task-retried"}


class TaskEvents:
    """What happens in one burst.

    Args:
        runtime: of the app.
        hostname: of the worker; `None`: this machine's name.
    """

    def __init__(self, runtime: Runtime, *, hostname: str | None) -> None:
        self._app: Final = runtime.app
        self._hostname: Final = hostname
        self._is_on: Final = board.sends_events or bool(runtime.announcer.task_events)
        self._noted: list[tuple[str, dict[str, Any]]] = []

    def note_beginning(self, task: Task[..., Any], message: StepMessage, request: Mapping[str, Any]) -> None:
        """Tell that a step is taken up and begins, and what was noted before."""
        if not (self._is_on and task.send_events):
            return
        names = {
            "uuid": message.task_id,
            "name": message.task,
            "args": request["argsrepr"],
            "kwargs": request["kwargsrepr"],
            "root_id": request["root_id"],
            "parent_id": request["parent_id"],
            "retries": 0,
            "eta": None,
            "expires": None,
        }
        if self._app.conf.task_send_sent_event:
            delivered = request["delivery_info"]
            where = {
                "queue": delivered.get("routing_key"),
                "exchange": delivered.get("exchange"),
                "routing_key": delivered.get("routing_key"),
            }
            self._noted.append(("task-sent", {**names, **where}))
        self._noted.append(("task-received", names))
        self._noted.append(("task-started", {"uuid": message.task_id}))
        # Whoever looks at a long step sees that it runs.
        self.flush()

    def note_end(
        self, task: Task[..., Any], message: StepMessage, *, problem: Any, result: Any, seconds: Any, text: Any
    ) -> None:
        """Note how a step ended, from what its tracer returned."""
        if not (self._is_on and task.send_events):
            return
        if problem is None:
            fields = {"uuid": message.task_id, "result": text, "runtime": seconds}
            self._noted.append(("task-succeeded", fields))
        elif (name := _ENDED.get(problem.state)) is not None:
            told = getattr(result, "traceback", None)
            fields = {"uuid": message.task_id, "exception": saferepr(problem.retval), "traceback": told}
            self._noted.append((name, fields))

    def flush(self) -> None:
        """Send what was noted. Never raises: it is only news."""
        if not self._noted:
            return
        noted, self._noted = self._noted, []
        if not is_broker_taking():
            return
        try:
            with self._app.amqp.producer_pool.acquire(block=True) as producer:
                dispatcher = self._app.events.Dispatcher(
                    producer.connection, hostname=self._hostname, buffer_while_offline=False, buffer_group={_GROUP}
                )
                for name, fields in noted:
                    dispatcher.send(name, **fields)
                dispatcher.flush(errors=False)
        except Exception as error:
            logger.warning("backout: Celery events of a burst were not sent: %s", error)

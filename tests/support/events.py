"""The events that Celery's workers send, which is all that Flower sees."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.support.stack import Stack
from tests.support.waiting import wait_until

SECONDS = 20.0
PROBE = "watcher-probe"


class Watcher:
    """Task events as they come, in order."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    def of(self, task_id: str) -> list[str]:
        """Return the kinds of events that a task has had."""
        return [event["type"] for event in list(self.events) if event.get("uuid") == task_id]

    def of_root(self, root_id: str, kind: str = "task-received") -> list[dict[str, Any]]:
        """Return the events of one kind of all tasks of one tree."""
        return [event for event in list(self.events) if event["type"] == kind and event.get("root_id") == root_id]

    def wait_for(self, task_id: str, kind: str) -> dict[str, Any]:
        """Return the event of this kind of a task; wait for it."""

        def find() -> dict[str, Any] | None:
            return next((e for e in list(self.events) if e.get("uuid") == task_id and e["type"] == kind), None)

        return wait_until(find, SECONDS, f"{kind} of {task_id}; seen: {self.of(task_id)}")


@contextmanager
def watching(stack: Stack) -> Iterator[Watcher]:
    """Watch a stack's events inside the block, as Flower does; nothing that happens inside is missed."""
    watcher = Watcher()
    with stack.app.connection_for_read() as connection, stack.app.events.default_dispatcher() as dispatcher:
        receiver = stack.app.events.Receiver(connection, handlers={"*": watcher.events.append})
        thread = threading.Thread(target=lambda: receiver.capture(wakeup=False), daemon=True)
        thread.start()

        def is_heard() -> bool:
            # The broker says nothing about when a subscription holds.
            dispatcher.send(PROBE)
            return any(event["type"] == PROBE for event in list(watcher.events))

        wait_until(is_heard, SECONDS, "the watcher hears events")
        try:
            yield watcher
        finally:
            receiver.should_stop = True
            # The receiver looks at its flag after each event.
            dispatcher.send(PROBE)
            thread.join(SECONDS)

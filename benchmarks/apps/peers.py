"""What the workers that are not Celery's share: they are ready, and they work until they are told to end."""

from __future__ import annotations

import os
import signal
import sys
import threading

from benchmarks.apps import READY


def say_ready() -> None:
    """Tell whoever started this worker that it can work."""
    print(READY, flush=True)


def wait_for_end() -> None:
    """Return at SIGTERM, or when whoever started this process is gone."""
    should_end = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: should_end.set())
    parent_id = os.getppid()
    while os.getppid() == parent_id and not should_end.wait(1.0):
        pass


def leave() -> None:
    """End at once: threads that sleep for their poll interval are not waited for."""
    sys.stdout.flush()
    os._exit(0)

"""The shop with receivers of every signal: they write down what they hear, and one of them always raises."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from backout.events import LifecycleEvent
from backout.signals import any_event, step_succeeded
from tests.support.apps import names
from tests.support.apps.shop import app

__all__ = ["app"]


@step_succeeded.connect(weak=False)
def stumble(sender: str, event: LifecycleEvent, **_: Any) -> None:
    """Fail, as a receiver may."""
    raise RuntimeError("the receiver stumbled")


@any_event.connect(weak=False)
def write_down(sender: str, event: LifecycleEvent, **_: Any) -> None:
    """Write down an event, on a line of its own."""
    line = {
        "run": event.run_id,
        "name": event.name.value,
        "step": event.step,
        "attempt": event.attempt,
        "sender": sender,
        "pid": os.getpid(),
    }
    with (Path(os.environ[names.OUTSIDE]) / names.HEARD).open("a") as heard:
        heard.write(f"{json.dumps(line)}\n")

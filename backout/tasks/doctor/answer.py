"""What a worker says of itself in its answer to `celery inspect stats`; other tools see it too, so nothing is secret.

An answer of a worker step, and not a remote control command: a worker without backout would log an error for that.
"""

from __future__ import annotations

import socket
import time
from typing import Any, Final

from backout.tasks.doctor.versions import installed_versions
from backout.tasks.runtime import runtime_of

WORKER_KEY: Final = "backout"
SWEEPER_KEY: Final = "backout_sweeper"


def describe_worker(worker: Any) -> dict[str, Any]:
    """Return what this worker adds to its stats.

    Example:
        `{"backout": {"ledger": "1f0c…", "host": "web-1", "clock": 1764000000.1, "sends_events": true, "versions": …}}`
        with the clock of its machine in seconds since 1970.
    """
    dispatcher = getattr(getattr(worker, "consumer", None), "event_dispatcher", None)
    return {
        WORKER_KEY: {
            "ledger": runtime_of(worker.app).unverified_ledger.fingerprint,
            "host": socket.gethostname(),
            # The machine's clock, not the ledger's: it is what is to be compared.
            "clock": time.time(),
            "sends_events": bool(getattr(dispatcher, "enabled", False)),
            "versions": installed_versions(),
        },
    }

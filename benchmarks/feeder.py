"""Do what a measurement asks for, in a process of one way: `python -m benchmarks.feeder MODULE`.

Reads one request per line, as JSON: `["enqueue", 300]`; answers with one line of JSON. What libraries print goes to the
error output.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from types import ModuleType
from typing import Any, Final

LONGEST_WAIT_SECONDS: Final = 60.0
POLL_SECONDS: Final = 0.001


def main() -> None:
    """Answer until the input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    app = importlib.import_module(sys.argv[1])
    for line in sys.stdin:
        word, *numbers = json.loads(line)
        print(json.dumps(REQUESTS[word](app, *numbers)), file=answers, flush=True)


def prepare(app: ModuleType) -> None:
    app.prepare()


def enqueue(app: ModuleType, count: int) -> dict[str, float]:
    """Start so many pipelines; return the seconds and the processor seconds of this process."""
    started, cpu_started = time.perf_counter(), time.process_time()
    for number in range(count):
        app.start(number)
    return {"seconds": time.perf_counter() - started, "cpu_seconds": time.process_time() - cpu_started}


def count_finished(app: ModuleType) -> int:
    return int(app.count_finished())


def measure_latency(app: ModuleType, count: int) -> list[float]:
    """Run so many pipelines one after the other; return how many seconds each took from its start to its end."""
    return [_time_one(app, number) for number in range(count)]


def _time_one(app: ModuleType, number: int) -> float:
    started = time.perf_counter()
    is_finished = app.start(number)
    while not is_finished():
        if time.perf_counter() - started > LONGEST_WAIT_SECONDS:
            raise SystemExit(f"a pipeline has not ended in {LONGEST_WAIT_SECONDS:.0f} seconds")
        time.sleep(POLL_SECONDS)
    return time.perf_counter() - started


REQUESTS: Final[dict[str, Any]] = {
    "prepare": prepare,
    "enqueue": enqueue,
    "count_finished": count_finished,
    "measure_latency": measure_latency,
}

if __name__ == "__main__":
    main()

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
from functools import partial
from types import ModuleType
from typing import Any, Final

LONGEST_WAIT_SECONDS: Final = 240.0
POLL_SECONDS: Final = 0.001
MIXED_POLL_SECONDS: Final = 0.02
MIXED_WINDOW: Final = 8
MIXED: Final[list[Any]] = []
"""Of `enqueue_mixed`: whether the long pipeline has ended, then the same of each of the others."""


def main() -> None:
    """Answer until the input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    app = importlib.import_module(sys.argv[1])
    for line in sys.stdin:
        word, *numbers = json.loads(line)
        # What only one application can do is asked of it by name.
        do = partial(REQUESTS[word], app) if word in REQUESTS else getattr(app, word)
        print(json.dumps(do(*numbers)), file=answers, flush=True)


def prepare(app: ModuleType) -> None:
    app.prepare()


def enqueue(app: ModuleType, count: int) -> dict[str, float]:
    """Start so many pipelines; return the seconds and the processor seconds of this process."""
    started, cpu_started = time.perf_counter(), time.process_time()
    for number in range(count):
        app.start(number)
    return {"seconds": time.perf_counter() - started, "cpu_seconds": time.process_time() - cpu_started}


def enqueue_many(app: ModuleType, count: int) -> dict[str, float] | None:
    """Start so many pipelines in one call; return as `enqueue`, or nothing where the way has no such call."""
    start_many = getattr(app, "start_many", None)
    if start_many is None:
        return None
    started, cpu_started = time.perf_counter(), time.process_time()
    start_many(count)
    return {"seconds": time.perf_counter() - started, "cpu_seconds": time.process_time() - cpu_started}


def enqueue_mixed(app: ModuleType, count: int) -> None:
    """Start the long pipeline and right after it so many others; `time_mixed` waits for them."""
    MIXED[:] = [app.start_long(), *(app.start(number) for number in range(count))]


def time_mixed(app: ModuleType) -> dict[str, Any]:
    """Return after how many seconds each of the others was seen to have ended, and after how many the long one."""
    started = time.perf_counter()
    is_long_finished, *waiting = MIXED
    seconds = []
    while waiting:
        time.sleep(MIXED_POLL_SECONDS)
        # They end about in the order in which they were started; to ask for all each time would cost too much.
        for is_finished in waiting[:MIXED_WINDOW]:
            if is_finished():
                waiting.remove(is_finished)
                seconds.append(time.perf_counter() - started)
        _check_patience(started)
    while not is_long_finished():
        time.sleep(MIXED_POLL_SECONDS)
        _check_patience(started)
    return {"short": seconds, "long": time.perf_counter() - started}


def count_finished(app: ModuleType) -> int:
    return int(app.count_finished())


def measure_latency(app: ModuleType, count: int) -> list[float]:
    """Run so many pipelines one after the other; return how many seconds each took from its start to its end."""
    return [_time_one(app, number) for number in range(count)]


def _time_one(app: ModuleType, number: int) -> float:
    started = time.perf_counter()
    is_finished = app.start(number)
    while not is_finished():
        _check_patience(started)
        time.sleep(POLL_SECONDS)
    return time.perf_counter() - started


def _check_patience(started: float) -> None:
    if time.perf_counter() - started > LONGEST_WAIT_SECONDS:
        raise SystemExit(f"a pipeline has not ended in {LONGEST_WAIT_SECONDS:.0f} seconds")


REQUESTS: Final[dict[str, Any]] = {
    "prepare": prepare,
    "enqueue": enqueue,
    "enqueue_many": enqueue_many,
    "enqueue_mixed": enqueue_mixed,
    "time_mixed": time_mixed,
    "count_finished": count_finished,
    "measure_latency": measure_latency,
}

if __name__ == "__main__":
    main()

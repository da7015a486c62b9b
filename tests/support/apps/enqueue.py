"""A process that enqueues: `python -m tests.support.apps.enqueue <app module> <pipeline> <job as JSON> [source event]`.

It waits at the gate `enqueue` if the test has armed one, and prints the run's id and whether it was created.
"""

from __future__ import annotations

import importlib
import json
import sys

from backout import Pipeline
from backout.pipelines.registry import find_pipeline
from tests.support.apps.pipelines import outside

GATE = "enqueue"


def main() -> None:
    """Enqueue one run."""
    module, pipeline, job, *event = sys.argv[1:]
    importlib.import_module(module)
    outside().strike(f"{GATE} {event[1] if len(event) > 1 else ''}".strip())
    found = find_pipeline(pipeline)
    assert isinstance(found, Pipeline)
    handle = found.enqueue(json.loads(job), source_event_id=event[0] if event else None)
    print(json.dumps({"id": handle.id, "was_created": handle.was_created}), flush=True)


if __name__ == "__main__":
    main()

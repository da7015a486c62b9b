"""A process that starts a server and then hangs, to be killed: `python -m tests.support.owner broker|postgres [fork]`.

Prints one line of JSON when the server is up. With `fork` it has forked a child that holds its open files and lives on.
"""

import json
import os
import signal
import sys
from contextlib import AbstractContextManager

from backout.testing.servers import Broker, ServerSource, start_broker
from backout.testing.servers.postgres import Postgres, start_postgres

SOURCES = (ServerSource.MACHINE, ServerSource.WHEEL)


def main() -> None:
    """Start the server named on the command line and wait for the end."""
    starting: AbstractContextManager[Broker | Postgres]
    starting = start_broker(sources=SOURCES) if sys.argv[1] == "broker" else start_postgres(sources=SOURCES)
    with starting as server:
        facts = {
            "pid": server.pid,
            "guardian_pid": server.guardian_pid,
            "folder": str(server.folder),
            "child_pid": fork_child() if "fork" in sys.argv else None,
        }
        print(json.dumps(facts), flush=True)
        signal.pause()


def fork_child() -> int:
    """Fork a child that does nothing but hold what it inherited."""
    child_id = os.fork()
    if child_id == 0:
        signal.pause()
    return child_id


if __name__ == "__main__":
    main()

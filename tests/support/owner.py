"""A process that starts a server and then hangs, to be killed: `python -m tests.support.owner SERVER [fork]`.

SERVER is `broker`, `postgres`, `mariadb` or `rabbitmq`. Prints one line of JSON when the server is up. With `fork` it
has forked a child that holds its open files and lives on.
"""

import json
import os
import signal
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial

from backout.testing.servers import Broker, ServerSource, start_broker
from backout.testing.servers.mariadb import MariaDB, start_mariadb
from backout.testing.servers.postgres import Postgres, start_postgres
from backout.testing.servers.rabbitmq import RabbitMQ, start_rabbitmq

SOURCES = (ServerSource.MACHINE, ServerSource.WHEEL)
STARTERS: dict[str, Callable[[], AbstractContextManager[Broker | Postgres | MariaDB | RabbitMQ]]] = {
    "broker": partial(start_broker, sources=SOURCES),
    "postgres": partial(start_postgres, sources=SOURCES),
    "mariadb": partial(start_mariadb, sources=SOURCES),
    "rabbitmq": partial(start_rabbitmq, sources=SOURCES),
}


def main() -> None:
    """Start the server named on the command line and wait for the end."""
    with STARTERS[sys.argv[1]]() as server:
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

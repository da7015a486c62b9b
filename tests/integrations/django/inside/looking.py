"""What a test looks at: the runs of the ledger, seen by another connection, and the messages of the broker."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import transaction

from backout.integrations.django.engine import find_engine, project_app
from backout.ledger import queries
from backout.ledger.records import RunRecord


def committed_runs() -> list[RunRecord]:
    """Return the runs that others see."""
    return find_engine().ledger.read(queries.list_runs)


def take_messages() -> list[str]:
    """Return the ids of the runs whose messages were sent, and take them."""
    found = []
    with project_app().connection() as connection, connection.SimpleQueue("celery") as queue:
        while queue.qsize():
            message = queue.get_nowait()
            found.append(message.headers["root_id"])
            message.ack()
    return found


def new_number() -> str:
    """Return an order's number that nothing else has."""
    return uuid.uuid4().hex[:12]


@contextmanager
def rolled_back(using: str = "default") -> Iterator[None]:
    """Open a block that is rolled back at its end."""
    with transaction.atomic(using=using):
        yield
        transaction.set_rollback(True, using=using)

"""A short selection of the crash matrix; `make crash-matrix` runs all of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from backout.faultpoints import FaultPoint
from tests.proof.cells import CELLS, Carried, Disaster, run_batch
from tests.proof.servers import open_broker, open_database
from tests.support.apps.pipelines import INSIDE
from tests.support.servers import find_mariadb_version, find_rabbitmq_version

POINTS = (FaultPoint.AFTER_CLAIM.value, INSIDE, FaultPoint.BEFORE_COMMIT.value, FaultPoint.AFTER_COMMIT.value)
CHOSEN = [cell for cell in CELLS if cell.point in POINTS and not cell.contract.again]
SELECTION = [
    ("redis", "postgresql", Carried.BURSTS, Disaster.NETWORK_CUT),
    ("rabbitmq", "mariadb", Carried.MESSAGES, Disaster.WORKER_KILLED),
    ("redis", "mariadb", Carried.BURSTS, Disaster.DATABASE_RESTARTED),
    ("rabbitmq", "sqlite", Carried.MESSAGES, Disaster.BROKER_FLUSHED),
]
MISSING = {
    name for name, find in (("rabbitmq", find_rabbitmq_version), ("mariadb", find_mariadb_version)) if find() is None
}


@pytest.mark.parametrize(
    ("broker", "database", "carried", "disaster"),
    [row for row in SELECTION if not MISSING & set(row)],
)
def test_every_run_ends_as_if_nothing_had_happened(
    tmp_path: Path, broker: str, database: str, carried: Carried, disaster: Disaster
) -> None:
    """Wherever the disaster meets a run: it ends, nothing is lost, and no effect that must not be doubled is."""
    with open_broker(broker) as broker_place, open_database(database, tmp_path) as database_place:
        problems = run_batch(disaster, broker_place, database_place, carried, CHOSEN)
    assert {cell.place: problem for cell, problem in problems.items() if problem} == {}

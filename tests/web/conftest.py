"""What the tests of pages share: real ledgers, and an engine on them that sends nothing."""

import pytest

from backout.ledger.session import Ledger
from tests.ledger.conftest import ledger, migrated_mariadb, migrated_postgresql, migrated_sqlite
from tests.support.recorder import RecordingEngine, make_engine

__all__ = ["ledger", "migrated_mariadb", "migrated_postgresql", "migrated_sqlite"]


@pytest.fixture
def engine(ledger: Ledger) -> RecordingEngine:
    """An engine on the test's ledger that sends nothing."""
    return make_engine(ledger)

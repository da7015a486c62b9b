"""A ledger in one SQLite file that is made for a moment, and whose time is moved instead of waited for."""

from __future__ import annotations

import sqlite3
import tempfile
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Final

from backout.ledger import schema
from backout.ledger.session import Ledger
from backout.tasks.process import this_process

LONG_AGO: Final = "2020-01-01 00:00:00.000000"
"""As the ledger writes instants into SQLite."""

_TIMES: Final = ("claim_expires_at", "next_retry_at", "may_run_until", "sweep_at")
_PASS_TIME: Final = (
    *(f"UPDATE backout_step SET {name} = '{LONG_AGO}' WHERE {name} IS NOT NULL" for name in _TIMES),
    # What the sweeper takes for a run that nothing moves on.
    f"UPDATE backout_run SET updated_at = '{LONG_AGO}' WHERE finished_at IS NULL",
)
_MAKE_RETRIES_DUE: Final = f"UPDATE backout_step SET next_retry_at = '{LONG_AGO}' WHERE next_retry_at IS NOT NULL"
_BURY: Final = "UPDATE backout_step SET claimed_by = claimed_by || '0' WHERE claimed_by = ?"


class ScratchLedger:
    """The file of a ledger, and what tests do to it directly.

    Args:
        folder: where it is; made by `renew`.
    """

    def __init__(self, folder: Path) -> None:
        self._file: Final = folder / "ledger.sqlite3"

    @property
    def url(self) -> str:
        """The SQLAlchemy URL."""
        return f"sqlite:///{self._file}"

    def renew(self) -> None:
        """Make an empty ledger. Nobody may be connected."""
        for leftover in self._file.parent.glob(f"{self._file.name}*"):
            leftover.unlink()
        self._file.write_bytes(_empty_ledger())

    def pass_time(self) -> None:
        """Let every claim expire, every wait end and everything else become due."""
        self._change(*_PASS_TIME)

    def make_retries_due(self) -> None:
        """Let the time of every scheduled retry come."""
        self._change(_MAKE_RETRIES_DUE)

    def bury_this_process(self) -> None:
        """Let what this process has claimed be a dead one's: of its number, and started at another time."""
        name = this_process()
        if name is not None:
            self._change(_BURY, parameters=(name,))

    def _change(self, *statements: str, parameters: tuple[str, ...] = ()) -> None:
        with closing(sqlite3.connect(self._file)) as connection, connection:
            connection.execute("PRAGMA synchronous = OFF")
            for statement in statements:
                connection.execute(statement, parameters)


@cache
def _empty_ledger() -> bytes:
    """Return the file of a ledger without runs; the migrations take longer than most tests."""
    with tempfile.TemporaryDirectory(prefix="backout-scratch-") as folder:
        file = Path(folder) / "empty.sqlite3"
        ledger = Ledger(f"sqlite:///{file}", pool_size=1)
        schema.upgrade(ledger)
        # The last connection moves everything from the write-ahead log into the file.
        ledger.dispose()
        return file.read_bytes()

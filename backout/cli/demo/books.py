"""The books of the outside world, a SQLite file: every request that reached it and every effect that it had."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

BUSY_SECONDS: Final = 10.0
SCHEMA: Final = """
CREATE TABLE effect (
    id INTEGER PRIMARY KEY,
    at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    partner TEXT NOT NULL,
    deed TEXT NOT NULL,
    idempotency_key TEXT NOT NULL,
    order_id TEXT NOT NULL,
    number TEXT NOT NULL,
    amount INTEGER NOT NULL,
    undoes INTEGER UNIQUE REFERENCES effect (id),
    UNIQUE (partner, deed, idempotency_key)
);
CREATE TABLE request (
    id INTEGER PRIMARY KEY,
    at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    partner TEXT NOT NULL,
    deed TEXT NOT NULL,
    idempotency_key TEXT NOT NULL,
    order_id TEXT NOT NULL,
    outcome TEXT NOT NULL,
    answered_at TEXT
);
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """Something that really happened outside.

    Attributes:
        amount: cents at the bank, pieces at the warehouse, 1 elsewhere; negative where it takes an effect back.
        number: by which the partner names it, such as `CH-002`.
        undoes: the effect that this one takes back; `None` for an effect of its own.
    """

    id: int
    at: str
    partner: str
    deed: str
    idempotency_key: str
    order_id: str
    number: str
    amount: int
    undoes: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request that reached a partner.

    Attributes:
        outcome: `"done"`, `"repeated"` (an earlier request under this key had done it), or why nothing was done.
        answered_at: `None` when the answer has not been given, because whoever asked was gone.
    """

    id: int
    at: str
    partner: str
    deed: str
    idempotency_key: str
    order_id: str
    outcome: str
    answered_at: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Booked:
    """What `Books.book` did: the request as written down, and the effect, which may be that of an earlier request."""

    request_id: int
    effect: Effect
    is_repeated: bool


class Books:
    """The file. Safe for any number of processes: each call has its own connection and transaction."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def open_new(self) -> None:
        """Create the file with empty tables."""
        with closing(self._connect()) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.executescript(SCHEMA)

    def book(
        self, *, partner: str, deed: str, key: str, order_id: str, prefix: str, amount: int, undoes: int | None = None
    ) -> Booked:
        """Write down a request, and its effect unless it happened already: under this key, or by undoing the same.

        Commits one transaction; a second call with the same key adds a request and no effect.
        """
        with self._transaction() as connection:
            effect = _find(connection, "partner = ? AND deed = ? AND idempotency_key = ?", (partner, deed, key))
            if effect is None and undoes is not None:
                effect = _find(connection, "undoes = ?", (undoes,))
            is_repeated = effect is not None
            request_id = _add_request(connection, partner, deed, key, order_id, "repeated" if is_repeated else "done")
            if effect is None:
                # The transaction holds the only write lock, so no other process takes the same number.
                last = connection.execute("SELECT coalesce(max(id), 0) AS id FROM effect").fetchone()["id"]
                values = (partner, deed, key, order_id, f"{prefix}-{last + 1:03d}", amount, undoes)
                columns = "partner, deed, idempotency_key, order_id, number, amount, undoes"
                connection.execute(f"INSERT INTO effect ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?)", values)
                effect = _find(connection, "partner = ? AND deed = ? AND idempotency_key = ?", (partner, deed, key))
            assert effect is not None
            return Booked(request_id=request_id, effect=effect, is_repeated=is_repeated)

    def note(self, *, partner: str, deed: str, key: str, order_id: str, outcome: str) -> int:
        """Write down a request that had no effect and why; return its id."""
        with self._transaction() as connection:
            return _add_request(connection, partner, deed, key, order_id, outcome)

    def mark_answered(self, request_id: int) -> None:
        """Write down that a request has been answered."""
        with self._transaction() as connection:
            now = "strftime('%Y-%m-%dT%H:%M:%fZ', 'now')"
            connection.execute(f"UPDATE request SET answered_at = {now} WHERE id = ?", (request_id,))

    def find_effect(self, *, partner: str, deed: str, key: str) -> Effect | None:
        """Return the effect under a key; `None` when there was none."""
        with closing(self._connect()) as connection:
            return _find(connection, "partner = ? AND deed = ? AND idempotency_key = ?", (partner, deed, key))

    def effects_of(self, order_id: str) -> list[Effect]:
        """Return what happened for an order, in order."""
        with closing(self._connect()) as connection:
            rows = connection.execute("SELECT * FROM effect WHERE order_id = ? ORDER BY id", (order_id,))
            return [Effect(**row) for row in rows]

    def requests_of(self, order_id: str) -> list[Request]:
        """Return what was asked for an order, in order."""
        with closing(self._connect()) as connection:
            rows = connection.execute("SELECT * FROM request WHERE order_id = ? ORDER BY id", (order_id,))
            return [Request(**row) for row in rows]

    def _connect(self) -> sqlite3.Connection:
        # Without the module's own transactions: they begin late, and then two writers can read the same state.
        connection = sqlite3.connect(self.path, timeout=BUSY_SECONDS, isolation_level=None)
        connection.row_factory = _row_as_mapping
        return connection

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with closing(self._connect()) as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")


def _row_as_mapping(cursor: sqlite3.Cursor, row: tuple[Any, ...]) -> dict[str, Any]:
    return {column[0]: value for column, value in zip(cursor.description, row, strict=True)}


def _find(connection: sqlite3.Connection, where: str, values: tuple[str | int, ...]) -> Effect | None:
    row = connection.execute(f"SELECT * FROM effect WHERE {where}", values).fetchone()
    return Effect(**row) if row is not None else None


def _add_request(connection: sqlite3.Connection, partner: str, deed: str, key: str, order_id: str, outcome: str) -> int:
    cursor = connection.execute(
        "INSERT INTO request (partner, deed, idempotency_key, order_id, outcome) VALUES (?, ?, ?, ?, ?)",
        (partner, deed, key, order_id, outcome),
    )
    assert cursor.lastrowid is not None
    return cursor.lastrowid

"""Transactions of the caller's, in which runs are recorded: SQLAlchemy's, and those of frameworks with another ORM.

A run that is enqueued in a transaction exists if that transaction commits, and only then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol

from sqlalchemy import Connection
from sqlalchemy.orm import Session, scoped_session

from backout.errors import ConfigurationError
from backout.ledger import same_database
from backout.ledger.commits import Callback, after_connection_commit, after_joined_commit, after_session_commit
from backout.ledger.cursors import RecordingConnection
from backout.ledger.session import Ledger


@dataclass(frozen=True, slots=True, kw_only=True)
class CallersTransaction:
    """A transaction that is open, and that somebody else commits or rolls back.

    Attributes:
        connection: in that transaction, to the ledger's database; `None` where it is of another database: then a run
            can only be recorded after its commit, and a process that dies in between loses it.
        after_commit: calls back when it has committed; never when it was rolled back.
    """

    connection: RecordingConnection | None
    after_commit: Callable[[Callback], None]


class TransactionSource(Protocol):
    """What a framework with an ORM of its own knows of its transactions."""

    def find_open(self, ledger: Ledger) -> CallersTransaction | None:
        """Return the transaction in which the caller is just now; `None` when it is in none."""

    def recognise(self, given: object, ledger: Ledger) -> CallersTransaction | None:
        """Return the transaction of a connection that the caller gave; `None` when it is not the framework's."""


_sources: Final[list[TransactionSource]] = []
_apart: Final[list[None]] = []
"""Not empty while what is enqueued goes to a ledger that is not the application's."""


def add_transaction_source(source: TransactionSource) -> None:
    """Let `enqueue` join the transactions of a framework."""
    _sources.append(source)


@contextmanager
def outside_of_frameworks() -> Iterator[None]:
    """Join no framework's transaction inside the block, whatever is open: a test case's own, for example.

    A session or connection that is given is waited for: the ledger inside the block is not its database.
    """
    before = list(_sources)
    _sources.clear()
    _apart.append(None)
    try:
        yield
    finally:
        _apart.pop()
        _sources[:] = before


def find_transaction(ledger: Ledger, *, connection: object, session: object) -> CallersTransaction | None:
    """Return the caller's transaction: the one that is given, else one of a framework in which the caller is.

    Returns:
        `None` when there is none: the run has a transaction of its own.

    Raises:
        ConfigurationError: both were given, something that is neither, or one of another database than the ledger's.
            Nothing was written.
    """
    if connection is not None and session is not None:
        raise ConfigurationError(problem="both connection= and session= were given", remedy="Give one of them.")
    if session is not None:
        return _of_session(session, ledger)
    if connection is not None:
        return _of_connection(connection, ledger)
    return next((found for source in _sources if (found := source.find_open(ledger)) is not None), None)


def _of_session(given: object, ledger: Ledger) -> CallersTransaction:
    session = given() if isinstance(given, scoped_session) else given
    if not isinstance(session, Session):
        raise _refuse(given)
    connection = same_database.connection_of(session, ledger)
    if connection is None and not _apart:
        raise same_database.refuse(same_database.show(same_database.default_bind(session)), ledger)
    if connection is not None and connection is same_database.default_bind(session):
        return CallersTransaction(connection=connection, after_commit=partial(after_joined_commit, session, connection))
    return CallersTransaction(connection=connection, after_commit=partial(after_session_commit, session))


def _of_connection(given: object, ledger: Ledger) -> CallersTransaction:
    if isinstance(given, Connection):
        is_theirs = same_database.is_ledgers(given, ledger)
        if not is_theirs and not _apart:
            raise same_database.refuse(same_database.show(given), ledger)
        connection = given if is_theirs else None
        return CallersTransaction(connection=connection, after_commit=partial(after_connection_commit, given))
    for source in _sources:
        if (found := source.recognise(given, ledger)) is not None:
            return found
    raise _refuse(given)


def _refuse(given: object) -> ConfigurationError:
    return ConfigurationError(
        problem=f"a run cannot be written through a {type(given).__name__}",
        remedy="Give connection= an SQLAlchemy Connection or session= a (scoped) Session, not an async one.",
    )

"""The ledger's connections: one engine per process, safe over fork, and the scopes in which changes commit."""

from __future__ import annotations

import hashlib
import logging
import os
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, TypeAlias, TypeVar

from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.engine import URL
from sqlalchemy.exc import (
    DBAPIError,
    IntegrityError,
    InterfaceError,
    NoSuchModuleError,
    OperationalError,
)
from sqlalchemy.pool import NullPool

from backout.errors import ConfigurationError, LedgerUnavailable
from backout.jsontext import dump_json, load_json
from backout.ledger.addresses import file_of, is_same_place, parse_url
from backout.ledger.dialects import IS_OWN, LedgerDialect, dialect_of, may_pass, may_succeed_at_once
from backout.ledger.sqlite import READS_ONLY

T = TypeVar("T")

LedgerConnection: TypeAlias = Connection
"""What `Ledger.transaction()` and `Ledger.change()` open; other packages pass it on and do not look inside."""

logger = logging.getLogger(__name__)

LONGEST_PAUSE_SECONDS: Final = 5.0
REPEATS: Final = 3
"""How often a transaction is run again after a deadlock or a connection that turned out to be dead."""


LEDGER_ERRORS: Final = (DBAPIError, LedgerUnavailable)
"""What any use of the ledger may raise while the database is away."""


class KeyTaken(Exception):
    """A unique index has the row or the key already; nothing was written."""


class Ledger:
    """The database that knows what happened.

    Args:
        database_url: an SQLAlchemy URL.
        pool_size: connections kept open in this process; twice as many may be open for a moment.

    Raises:
        ConfigurationError: the URL cannot be read, or its driver is not installed. Nothing was connected.
    """

    def __init__(self, database_url: str, *, pool_size: int = 5) -> None:
        self._text: Final = database_url
        self._url = parse_url(database_url)
        self.shown_url: Final = _without_passwords(self._url).render_as_string(hide_password=True)
        self.file: Final = file_of(self._url)
        self.fingerprint: Final = _fingerprint(self._url, self.file)
        # Hidden: what a statement was given is the users' data, and its errors go into logs and reports.
        options: dict[str, Any] = {
            "json_serializer": dump_json,
            "json_deserializer": load_json,
            "hide_parameters": True,
            "execution_options": {IS_OWN: True},
        }
        if self._url.get_backend_name() != "sqlite":
            options |= {"pool_size": pool_size, "max_overflow": pool_size, "pool_timeout": 30, "pool_use_lifo": True}
        if self._url.query.get("mode") == "memory":
            # Shared with whoever made it, and gone when they close it: a connection kept here would keep it there.
            options["poolclass"] = NullPool
        try:
            self.dialect: LedgerDialect = dialect_of(self._url.get_backend_name())
            self._engine: Engine = create_engine(self._url, **options, **self.dialect.engine_options)
        except (ImportError, NoSuchModuleError, KeyError) as error:
            raise ConfigurationError(
                problem=f"the ledger URL {self.shown_url} needs a driver that is not there ({error})",
                remedy='Supported: "postgresql+psycopg://…" (pip install "backout[postgres]"), "mysql+pymysql://…" and '
                '"mariadb+pymysql://…" (pip install "backout[mysql]"), and "sqlite:///…".',
            ) from error
        if self._engine.dialect.driver != self.dialect.driver:
            raise ConfigurationError(
                problem=f"the ledger URL {self.shown_url} names the driver {self._engine.dialect.driver!r}",
                remedy=f"The ledger speaks to {self.dialect.name} through {self.dialect.driver!r} only: name that one.",
            )
        self.dialect.prepare(self._engine)
        # All three share the pool.
        self._transacting: Final = self._engine.execution_options(**self.dialect.transaction_options)
        self._reading: Final = self._engine.execution_options(**{READS_ONLY: True})
        self._kept: Final[deque[Connection]] = deque()
        self._kept_at_most: Final = pool_size if self.dialect.keeps_connections else 0
        _ledgers.add(self)

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Open a transaction; commit at the end, roll back on any exception."""
        if not self._kept_at_most:
            with self._connected(self._transacting) as connection, connection.begin():
                yield connection
            return
        with self._borrowed() as connection:
            connection.execution_options(**self.dialect.transaction_options)
            try:
                with connection.begin():
                    yield connection
            except IntegrityError:
                # It is kept: in this mode the next statement would never be committed.
                connection.execution_options(**self.dialect.engine_options)
                raise
            connection.execution_options(**self.dialect.engine_options)

    @contextmanager
    def change(self) -> Iterator[Connection]:
        """Open a scope in which one `Change`, or one statement, is one commit.

        On PostgreSQL that is autocommit: one round trip. Elsewhere it is a transaction.
        """
        if self.dialect.commits_each_statement:
            with self._borrowed() as connection:
                yield connection
        else:
            with self.transaction() as connection:
                yield connection

    def read(self, query: Callable[[Connection], T]) -> T:
        """Run a query; run it again when the pool's connection turns out to be dead."""
        return self.repeat(lambda: self._read_once(query))

    def repeat(self, work: Callable[[], T]) -> T:
        """Run work that may be run again: once more after a deadlock or on a connection that was dead.

        For work that commits, a second commit must do no harm: a connection may die after the database has committed
        and before it could say so.

        Raises:
            KeyTaken: a unique index has the row already; nothing was written.
        """
        for left in reversed(range(REPEATS)):
            try:
                return work()
            except IntegrityError as error:
                raise KeyTaken from error
            except DBAPIError as error:
                if not left or not may_repeat(error):
                    raise
        raise AssertionError  # the last try has returned or raised

    def persist(self, work: Callable[[], T], *, recognise: Callable[[Connection], T | None], what: str) -> T:
        """Run work that commits, until it is known to be committed; waits as long as the database is away.

        Args:
            work: commits one transaction.
            recognise: reads whether an earlier try has committed after all; `None` when it has not. An error out of
                COMMIT says nothing about that (R14).
            what: for the log.

        Raises:
            KeyTaken: a unique index has the row already; nothing was written.
        """
        pause = 0.1
        while True:
            try:
                return work()
            except IntegrityError as error:
                raise KeyTaken from error
            except LEDGER_ERRORS as error:
                if not is_outage(error):
                    raise
                logger.warning("backout: the ledger is away, %s waits %.1f s: %s", what, pause, error)
            time.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
            try:
                known = self.read(recognise)
            except LEDGER_ERRORS as error:
                if not is_outage(error):
                    raise
            else:
                if known is not None:
                    return known

    def read_patiently(self, query: Callable[[Connection], T], *, what: str) -> T:
        """Run a query; wait as long as the database is away. `what` is for the log."""
        return self.persist(lambda: self.read(query), recognise=lambda _: None, what=what)

    def write_patiently(self, write: Callable[[Connection], T], *, what: str) -> T:
        """Run a write that does no harm when it is done twice, in a `change` scope; wait as `read_patiently`."""

        def once() -> T:
            with self.change() as connection:
                return write(connection)

        return self.persist(once, recognise=lambda _: None, what=what)

    def is_at(self, database_url: str) -> bool:
        """Return whether a URL leads to this database, perhaps as another user.

        Raises:
            ConfigurationError: it cannot be read.
        """
        return database_url == self._text or is_same_place(self._url, parse_url(database_url))

    def dispose(self, *, close: bool = True) -> None:
        """Forget all connections; with `close=False` leave them open, because another process uses them."""
        self.return_kept()
        self._engine.dispose(close=close)

    def return_kept(self) -> None:
        """Give the pool back what is kept beside it and not in use."""
        while self._kept:
            with suppress(IndexError):
                # Another thread may take the last one first.
                self._kept.pop().close()

    @contextmanager
    def _borrowed(self) -> Iterator[Connection]:
        """Open a connection that commits each statement, and keep it open for the next one.

        Taking one out of SQLAlchemy's pool and putting it back takes a tenth of the processor time of a step; here it
        is a list. As many are kept as the pool would keep.
        """
        try:
            connection = self._kept.pop()
        except IndexError:
            connection = self._connect(self._engine)
        try:
            yield connection
        except IntegrityError:
            self._keep(connection)
            raise
        except BaseException:
            if connection.invalidated:
                # It was dead, and so are the others: in the pool SQLAlchemy knows which it has to replace.
                self.return_kept()
            # See `_connected`.
            connection.invalidate()
            connection.close()
            raise
        else:
            self._keep(connection)

    def _keep(self, connection: Connection) -> None:
        if len(self._kept) >= self._kept_at_most or connection.invalidated:
            connection.close()
            return
        if connection.in_transaction():
            # In autocommit it is SQLAlchemy's own book-keeping, and no round trip.
            connection.rollback()
        self._kept.append(connection)

    def _connect(self, engine: Engine) -> Connection:
        try:
            return engine.connect()
        except (OperationalError, InterfaceError) as error:
            raise LedgerUnavailable(database=self.shown_url, problem=str(error.orig)) from error

    @contextmanager
    def _connected(self, engine: Engine) -> Iterator[Connection]:
        with self._connect(engine) as connection:
            try:
                yield connection
            except IntegrityError:
                raise
            except BaseException:
                # A timeout may have come in the middle of a query, and the driver then waits for the rest of its
                # answer: given back to the pool, the connection would fail everybody after us.
                connection.invalidate()
                raise

    def _read_once(self, query: Callable[[Connection], T]) -> T:
        with self._borrowed() if self._kept_at_most else self._connected(self._reading) as connection:
            return query(connection)


@contextmanager
def savepoint(connection: LedgerConnection) -> Iterator[None]:
    """Take back what was written in the block when it raises, and nothing else of the transaction."""
    with connection.begin_nested():
        yield


def may_repeat(error: DBAPIError) -> bool:
    """Return whether the same work may succeed when it is run again at once."""
    if error.connection_invalidated:
        return True
    return isinstance(error, OperationalError) and may_succeed_at_once(error.orig)


def is_outage(error: DBAPIError | LedgerUnavailable) -> bool:
    """Return whether the database is away or busy, so that waiting may help."""
    if isinstance(error, LedgerUnavailable):
        return True
    return error.connection_invalidated or (
        isinstance(error, OperationalError | InterfaceError) and may_pass(error.orig)
    )


def is_passing(error: DBAPIError | LedgerUnavailable) -> bool:
    """Return whether the same work may succeed later: an outage, or a deadlock, and nothing that is wrong with it."""
    return is_outage(error) or (isinstance(error, DBAPIError) and may_repeat(error))


def _without_passwords(url: URL) -> URL:
    """Return a URL whose options hold no password either: drivers take one there too, and SQLAlchemy shows it."""
    masked = {name: "hidden" for name in url.query if "pass" in name.lower() or "secret" in name.lower()}
    return url.update_query_dict(masked) if masked else url


def _fingerprint(url: URL, file: Path | None) -> str:
    """Return a short name of the database that a URL leads to; two processes compare it without telling the URL.

    User and password are left out: two users of one database are no difference, and from the hash of a weak password
    the password can be found.
    """
    query = {name: url.query.get(name) for name in ("host", "port", "dbname", "service", "options", "unix_socket")}
    database = str(file) if file is not None else url.database
    place = repr((url.get_backend_name(), url.host, url.port, database, sorted(query.items())))
    return hashlib.sha256(place.encode()).hexdigest()[:12]


_ledgers: Final[weakref.WeakSet[Ledger]] = weakref.WeakSet()


def _forget_inherited_connections() -> None:
    # A forked child that uses its parent's connections reads the parent's answers: 14 wrong results in 40 queries.
    for ledger in list(_ledgers):
        ledger.dispose(close=False)


def _return_kept_connections() -> None:
    # A child must find them in the pool, which it forgets without a word: one that is taken out would be closed by the
    # child when it is no longer needed, and with it the parent's session.
    for ledger in list(_ledgers):
        ledger.return_kept()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_return_kept_connections, after_in_child=_forget_inherited_connections)

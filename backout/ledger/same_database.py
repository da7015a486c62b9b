"""Whether a connection of somebody else's leads to the ledger's own database: asked of the servers, not of URLs."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from typing import Final, TypeAlias

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import UnboundExecutionError
from sqlalchemy.orm import Session
from sqlalchemy.pool import Pool

from backout.errors import ConfigurationError
from backout.ledger.dialects import dialect_of
from backout.ledger.models import run
from backout.ledger.session import Ledger

EngineSource: TypeAlias = Callable[[Session], Iterable[Engine]]

_known: Final[weakref.WeakKeyDictionary[Ledger, weakref.WeakSet[Pool]]] = weakref.WeakKeyDictionary()
"""Pools whose connections lead to a ledger's database: asked once."""
_sources: Final[list[EngineSource]] = []


def add_engine_source(source: EngineSource) -> None:
    """Let a framework tell which databases a session of its own can reach, beside the one that it takes by default."""
    _sources.append(source)


def connection_of(session: Session, ledger: Ledger) -> Connection | None:
    """Return a session's connection to the ledger's database, in its transaction; `None` when it has none there."""
    binds = _binds_of(session)
    for bind in binds:
        if _is_known(bind, ledger):
            return session.connection(bind_arguments={"bind": bind})
    for bind in binds:
        # Other databases that a session may use are not its default one's to ask: they may be away.
        if bind is binds[0] or _may_be(bind, ledger):
            connection = session.connection(bind_arguments={"bind": bind})
            if is_ledgers(connection, ledger):
                return connection
    return None


def is_ledgers(connection: Connection, ledger: Ledger) -> bool:
    """Return whether a connection leads to the ledger's database; asks both servers at the first connection of a pool.

    Writes nothing, and leaves the caller's transaction as it is.
    """
    if _is_known(connection, ledger):
        return True
    if not _may_be(connection, ledger):
        return False
    theirs = dialect_of(connection.dialect.name).place_of(connection)
    ours = ledger.read(ledger.dialect.place_of)
    if theirs is None or ours is None or not _is_one_place(theirs, ours):
        return False
    _known.setdefault(ledger, weakref.WeakSet()).add(connection.engine.pool)
    return True


def _is_one_place(one: tuple[object, ...], other: tuple[object, ...]) -> bool:
    # What one of the two users may not ask for says nothing.
    return all(None in (left, right) or left == right for left, right in zip(one, other, strict=True))


def refuse(shown: str, ledger: Ledger) -> ConfigurationError:
    """Return the error for a transaction of another database's."""
    return ConfigurationError(
        problem=f"a run cannot be written in a transaction on {shown}: the ledger is another database, "
        f"{ledger.shown_url}, or other tables of it",
        remedy="Let the ledger use the application's database (`database_url`), so that run and rows are committed "
        "together; or leave session= and connection= out, and enqueue after your own commit. Nothing was written.",
    )


def show(bind: Engine | Connection | None) -> str:
    """Return the URL of a connection without its password."""
    return bind.engine.url.render_as_string(hide_password=True) if bind is not None else "no database"


def default_bind(session: Session) -> Engine | Connection | None:
    """Return where a session takes the ledger's tables to be; `None` when it cannot tell."""
    try:
        return session.get_bind(clause=run)
    except UnboundExecutionError:
        return None


def _binds_of(session: Session) -> list[Engine | Connection]:
    first = default_bind(session)
    others = (engine for source in _sources for engine in source(session))
    return [bind for bind in (first, *others) if bind is not None]


def _is_known(bind: Engine | Connection, ledger: Ledger) -> bool:
    known = _known.get(ledger)
    return known is not None and bind.engine.pool in known


def _may_be(bind: Engine | Connection, ledger: Ledger) -> bool:
    names = {bind.dialect.name, ledger.dialect.name}
    return len(names) == 1 or names == {"mysql", "mariadb"}

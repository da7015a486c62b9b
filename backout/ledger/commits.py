"""Doing something after a commit of the caller's, of a session or of a connection.

What a crash leaves between the commit and the callback is the sweeper's: a lost callback costs time, nothing else.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any, Final, TypeAlias

from sqlalchemy import Connection, ExceptionContext, event
from sqlalchemy.orm import Session
from sqlalchemy.pool import Pool

Callback: TypeAlias = Callable[[], object]

_SESSION_KEY: Final = "backout_after_commit"


def after_session_commit(session: Session, callback: Callback) -> None:
    """Call back when a session's transaction has committed; never when it was rolled back.

    For a session that begins and commits on connections of its own: one that was given a connection may only be a part
    of somebody else's transaction there, and says all the same that it has committed.
    """
    waiting: list[tuple[object, Callback]] | None = session.info.get(_SESSION_KEY)
    if waiting is None:
        waiting = session.info[_SESSION_KEY] = []
        event.listen(session, "after_commit", _session_committed)
        event.listen(session, "after_soft_rollback", _session_rolled_back)
        event.listen(session, "after_transaction_end", _session_transaction_ended)
    waiting.append((session.get_nested_transaction(), callback))


def after_joined_commit(session: Session, connection: Connection, callback: Callback) -> None:
    """Do the same for a session that was given a connection, where it may be a part of somebody else's transaction.

    At once where the transaction was the session's own, else as `after_connection_commit`.
    """
    after_connection_commit(connection, callback)
    after_session_commit(session, lambda: _run_unless_open(connection))


def _run_unless_open(connection: Connection) -> None:
    if not connection.in_transaction():
        _by_connection[connection].run()


def _session_committed(session: Session) -> None:
    if session.in_nested_transaction():
        return
    waiting = session.info[_SESSION_KEY]
    callbacks = [callback for _, callback in waiting]
    waiting.clear()
    for callback in callbacks:
        callback()


def _session_rolled_back(session: Session, previous: Any) -> None:
    waiting = session.info[_SESSION_KEY]
    # A savepoint takes back what was enqueued inside it, also in inner ones; the outer transaction everything.
    waiting[:] = [item for item in waiting if previous.nested and not _is_inside(item[0], previous)]


def _session_transaction_ended(session: Session, transaction: Any) -> None:
    # `Session.close()` ends a transaction, and tells of no rollback.
    if transaction.parent is None:
        session.info[_SESSION_KEY].clear()


def _is_inside(transaction: Any, outer: Any) -> bool:
    while transaction is not None and transaction is not outer:
        transaction = transaction.parent
    return transaction is outer


class _Waiting:
    """Callbacks of one database connection, not yet committed and committed."""

    def __init__(self) -> None:
        self.open: list[Callback] = []
        self.committed: list[Callback] = []
        self.savepoints: list[int] = []
        """For each open savepoint, outermost first, the number of callbacks that waited when it began."""

    def end_savepoint(self) -> int:
        """Forget the innermost savepoint; return how many callbacks are older than it.

        SQLAlchemy tells a savepoint's name at its end only, so they are taken to nest. One that nobody told us of began
        before the first callback: none is older.
        """
        return self.savepoints.pop() if self.savepoints else 0

    def run(self) -> None:
        callbacks, self.committed = self.committed, []
        for callback in callbacks:
            callback()


_by_connection: Final[weakref.WeakKeyDictionary[Connection, _Waiting]] = weakref.WeakKeyDictionary()
_by_driver: Final[dict[int, _Waiting]] = {}
_pools: Final[weakref.WeakSet[Pool]] = weakref.WeakSet()


def after_connection_commit(connection: Connection, callback: Callback) -> None:
    """Call back when a connection's transaction has committed; never when it was rolled back.

    A connection only says when it is about to: the callback comes when the connection is given back to its pool, or
    begins its next transaction.
    """
    waiting = _by_connection.get(connection)
    if waiting is None:
        waiting = _by_connection[connection] = _Waiting()
        event.listen(connection, "commit", _connection_commits)
        event.listen(connection, "rollback", _connection_rolls_back)
        event.listen(connection, "begin", _connection_begins)
        event.listen(connection, "savepoint", _savepoint_begins)
        event.listen(connection, "release_savepoint", _savepoint_ends)
        event.listen(connection, "rollback_savepoint", _savepoint_rolls_back)
    _by_driver[id(connection.connection.dbapi_connection)] = waiting
    pool = connection.engine.pool
    if pool not in _pools:
        _pools.add(pool)
        event.listen(pool, "checkin", _given_back)
        event.listen(connection.engine, "handle_error", _failed)
    waiting.open.append(callback)


def _connection_commits(connection: Connection) -> None:
    waiting = _by_connection[connection]
    waiting.committed += waiting.open
    waiting.open.clear()


def _failed(context: ExceptionContext) -> None:
    waiting = _by_connection.get(context.connection) if context.connection is not None else None
    if waiting is not None:
        # What has committed is called before anything else is asked of the connection: it was COMMIT that failed. If
        # only its answer was lost, the sweeper does what the callback would have done.
        waiting.committed.clear()


def _connection_rolls_back(connection: Connection) -> None:
    _by_connection[connection].open.clear()


def _connection_begins(connection: Connection) -> None:
    waiting = _by_connection[connection]
    waiting.savepoints.clear()
    waiting.run()


def _savepoint_begins(connection: Connection, _name: str | None) -> None:
    waiting = _by_connection[connection]
    waiting.savepoints.append(len(waiting.open))


def _savepoint_ends(connection: Connection, _name: str, _context: None) -> None:
    _by_connection[connection].end_savepoint()


def _savepoint_rolls_back(connection: Connection, _name: str, _context: None) -> None:
    waiting = _by_connection[connection]
    del waiting.open[waiting.end_savepoint() :]


def _given_back(driver_connection: Any, _record: Any) -> None:
    waiting = _by_driver.pop(id(driver_connection), None)
    if waiting is not None:
        waiting.open.clear()
        waiting.run()

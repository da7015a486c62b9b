"""Numbers of the errors of MySQL and MariaDB: which are repeated, which are waited for.

PyMySQL takes every number that it does not know for an operational error, a missing column and a broken CHECK as well
as a server that shuts down, so the class of an error says nothing.
Source: MySQL 8.0 Error Message Reference; MariaDB's own from 1900 on: MariaDB Error Code Reference.
"""

from __future__ import annotations

from typing import Final

DUPLICATE: Final = 1062
"""A unique index has the row already."""

BROKEN_CHECK: Final = frozenset({3819, 4025})
"""A CHECK refuses the row: MySQL's number, MariaDB's."""

REPEATABLE: Final = frozenset({1020, 1205, 1213})
"""The row was changed since the transaction's snapshot (MariaDB), a lock was not given in time, a deadlock."""

_CLIENT: Final = range(2000, 3000)
"""The driver's own, about the connection."""

_OUTAGE: Final = REPEATABLE | {
    0,  # PyMySQL's, for a connection that is closed
    1021,  # disk full
    1030,  # the storage engine has failed, mostly on a full disk
    1040,  # too many connections
    1047,  # not ready for queries (a Galera node that joins)
    1053,  # server shutdown in progress
    1077,  # normal shutdown
    1079,  # shutdown complete
    1114,  # table full: its disk, or its file's limit
    1152,  # aborted connection
    1158,  # reading from the network failed
    1159,  # reading from the network took too long
    1160,  # writing to the network failed
    1161,  # writing to the network took too long
    1184,  # aborted connection
    1203,  # too many connections of one user
    1206,  # no memory for locks
    1226,  # a user's hourly limit is used up
    1290,  # the server runs with an option that forbids it: read-only during a failover
    1317,  # the query was killed
    1637,  # too many concurrent transactions
    1792,  # the transaction is read-only, as it began during a failover
    1836,  # read-only mode
    1927,  # the connection was killed (MariaDB)
    1969,  # the statement took longer than the server allows (MariaDB)
    3024,  # the statement took longer than the server allows (MySQL)
    3032,  # offline mode
    3101,  # group replication has rolled the transaction back
    3169,  # the session was killed
    4031,  # the connection was idle for too long
}


def is_outage(number: int) -> bool:
    """Return whether the database is away or busy, so that waiting may help."""
    return number in _CLIENT or number in _OUTAGE


def number_of(error: BaseException | None) -> int | None:
    """Return the number of an error of MySQL's drivers; `None` for those of other databases, which have none."""
    number = error.args[0] if error is not None and error.args else None
    return number if isinstance(number, int) else None

"""Django's transactions: a run that is enqueued inside `transaction.atomic()` exists if that commits."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from django.db import IntegrityError, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils.connection import ConnectionProxy

from backout.errors import ConfigurationError
from backout.integrations.django.configuration import alias_of
from backout.ledger.callers import CallersTransaction
from backout.ledger.cursors import CursorConnection
from backout.ledger.session import Ledger

ENQUEUE_INSIDE: Final = "Enqueue inside `transaction.atomic({})`"


class DjangoTransactions:
    """The transactions that Django has open in this thread."""

    def find_open(self, ledger: Ledger) -> CallersTransaction | None:
        """Return the atomic block in which the caller is.

        Returns:
            `None` outside of one. In a block of the ledger's database, what is written becomes part of it; in a block
            of another database, it can only be written after that has committed.

        Raises:
            ConfigurationError: blocks of several other databases are open, or the ledger's connection has its
                autocommit turned off without a block. Nothing was written.
        """
        alias = alias_of(ledger)
        opened = connections.all(initialized_only=True)
        own = next((one for one in opened if one.alias == alias), None)
        if own is not None and own.in_atomic_block:
            return _join(own)
        others = [one for one in opened if one.in_atomic_block]
        if len(others) > 1:
            raise _refuse_several(others)
        if others:
            return _follow(others[0])
        manual = [one for one in opened if _is_by_hand(one) and alias in (one.alias, None)]
        if manual:
            raise _refuse_by_hand(manual[0])
        return None

    def recognise(self, given: object, ledger: Ledger) -> CallersTransaction | None:
        """Return the transaction of `connections["…"]` or `django.db.connection`; `None` for anything else.

        Raises:
            ConfigurationError: it has no atomic block open. Nothing was written.
        """
        connection: Any = connections[given.alias] if isinstance(given, ConnectionProxy) else given
        if not isinstance(connection, BaseDatabaseWrapper):
            return None
        if not connection.in_atomic_block:
            if _is_by_hand(connection):
                raise _refuse_by_hand(connection)
            raise ConfigurationError(
                problem=f"the connection {connection.alias!r} that was given to enqueue is in no transaction",
                remedy=f"{ENQUEUE_INSIDE.format(_using(connection))}, or leave connection= out: the run then has a "
                "transaction of its own.",
            )
        return _join(connection) if connection.alias == alias_of(ledger) else _follow(connection)


def _join(connection: Any) -> CallersTransaction:
    # Django's own cursor: what it logs, wraps, counts and refuses stays so.
    cursors = CursorConnection(connection.vendor, connection.cursor, integrity_error=IntegrityError)
    return CallersTransaction(connection=cursors, after_commit=partial(transaction.on_commit, using=connection.alias))


def _follow(connection: Any) -> CallersTransaction:
    return CallersTransaction(connection=None, after_commit=partial(transaction.on_commit, using=connection.alias))


def _is_by_hand(connection: Any) -> bool:
    # Not `get_autocommit()`, which connects.
    return connection.connection is not None and not connection.autocommit and not connection.in_atomic_block


def _using(connection: Any) -> str:
    return "" if connection.alias == "default" else f"using={connection.alias!r}"


def _refuse_by_hand(connection: Any) -> ConfigurationError:
    return ConfigurationError(
        problem=f"autocommit is turned off on the connection {connection.alias!r}, so nobody can tell when it commits",
        remedy=f"{ENQUEUE_INSIDE.format(_using(connection))}, or turn autocommit on before.",
    )


def _refuse_several(connections_: list[Any]) -> ConfigurationError:
    names = " and ".join(repr(one.alias) for one in connections_)
    return ConfigurationError(
        problem=f"transactions of {names} are open, the ledger is in neither, and the run can follow only one",
        remedy=f"Name it: enqueue(…, connection=connections[{connections_[0].alias!r}]).",
    )

"""Django's `flush`, which empties the ledger too: runs of rows that are gone would go on without them."""

from __future__ import annotations

from typing import Any, Final

from django.core.management.color import no_style
from django.core.management.commands import flush
from django.db import connections

from backout.integrations.django.configuration import read_configuration
from backout.integrations.django.models import Entry, Review, Run, Step

QUESTION: Final = """The ledger of backout is in this database too: the only record of what its runs have done outside.
Type 'yes' to remove all runs, or 'no' to keep them: """


class Command(flush.Command):
    """Removes all data from a database, the ledger's included. Django's test cases call it after each test."""

    def handle(self, **options: Any) -> None:
        """Empty Django's tables as ever, and then the ledger's if they are in the same database."""
        super().handle(**options)
        alias = options["database"]
        if read_configuration().alias == alias and (not options["interactive"] or input(QUESTION) == "yes"):
            _empty_ledger(connections[alias], allow_cascade=bool(options.get("allow_cascade")))


def _empty_ledger(connection: Any, *, allow_cascade: bool) -> None:
    there = set(connection.introspection.table_names())
    tables = [model._meta.db_table for model in (Run, Step, Entry, Review) if model._meta.db_table in there]
    statements = connection.ops.sql_flush(no_style(), tables, reset_sequences=False, allow_cascade=allow_cascade)
    connection.ops.execute_sql_flush(statements)

"""The operation of Django's migrations that brings the ledger to a revision, by the steps that made it everywhere."""

from __future__ import annotations

from typing import Any, Final

from django.db.migrations.exceptions import IrreversibleError
from django.db.migrations.operations.base import Operation

from backout.integrations.django.configuration import read_configuration
from backout.ledger import schema
from backout.ledger.session import Ledger

KEPT: Final = (
    "the ledger's tables are kept: they are the only record of what has happened outside, and runs may be under way. "
    "To let Django forget them, run `manage.py migrate backout zero --fake`; to drop them, do so by hand"
)


class UpgradeLedger(Operation):
    """Bring the ledger to at least a revision; in databases that hold none, do nothing.

    It has connections of its own, because the steps are the ledger's: run it in a migration with `atomic = False`.

    Args:
        revision: of the ledger's schema.
    """

    # `sqlmigrate` would run it to collect its text.
    reduces_to_sql = False
    # Refused below, with a reason.
    reversible = True

    def __init__(self, revision: str) -> None:
        self.revision: Final = revision

    def state_forwards(self, app_label: str, state: Any) -> None:
        """Change nothing: the models stand beside it."""

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        """Upgrade the ledger where it is in this database.

        Raises:
            ConfigurationError: the settings name no usable ledger.
        """
        if schema_editor.connection.alias == read_configuration().alias:
            upgrade_ledger(at_least=self.revision)

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        """Refuse, where there is a ledger.

        Raises:
            IrreversibleError: it is kept.
        """
        if schema_editor.connection.alias == read_configuration().alias:
            raise IrreversibleError(KEPT)

    def describe(self) -> str:
        """Return what it does, for `migrate --plan`."""
        return f"Bring the ledger of backout to revision {self.revision}"

    @property
    def migration_name_fragment(self) -> str:
        """A part of a migration's name, should Django make one up."""
        return f"ledger_{self.revision}"


def upgrade_ledger(*, at_least: str | None = None) -> None:
    """Bring the ledger of the settings to a revision; to the newest one where none is named.

    Raises:
        ConfigurationError: it cannot be used.
    """
    ledger = Ledger(read_configuration().database_url, pool_size=1)
    try:
        schema.upgrade(ledger, at_least=at_least)
    finally:
        ledger.dispose()

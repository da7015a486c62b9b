"""The ledger's tables where Django's migrations do not look after them: projects that test without migrations."""

from __future__ import annotations

from typing import Any

from django.db.migrations.loader import MigrationLoader

from backout.integrations.django.configuration import read_configuration
from backout.integrations.django.operations import upgrade_ledger


def make_tables(sender: Any, using: str, **_: Any) -> None:
    """Make the ledger after `migrate` where migrations are turned off: unmanaged models get no tables else.

    Raises:
        ConfigurationError: the settings name no usable ledger.
    """
    is_migrated = MigrationLoader.migrations_module(sender.label)[0] is not None
    if not is_migrated and read_configuration().alias == using:
        upgrade_ledger()

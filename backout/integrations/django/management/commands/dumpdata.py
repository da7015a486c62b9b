"""Django's `dumpdata`, which leaves the ledger out: a record of what happened outside cannot be loaded again."""

from __future__ import annotations

from typing import Any, Final

from django.core.management.commands import dumpdata

LABEL: Final = "backout"


class Command(dumpdata.Command):
    """Dumps the project's data as ever; the ledger's only where it is asked for by name."""

    def handle(self, *app_labels: str, **options: Any) -> None:
        """Dump what is asked for."""
        is_named = any(label.partition(".")[0] == LABEL for label in app_labels)
        excluded = [*options["exclude"], *([] if is_named else [LABEL])]
        super().handle(*app_labels, **{**options, "exclude": excluded})

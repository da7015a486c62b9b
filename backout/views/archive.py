"""Write runs into a file before they leave the ledger: JSON lines, one run each, on the disk when a write returns.

The format has a version; docs/howto/retention.md describes it. Sensitive values are masked, as everywhere else.
"""

from __future__ import annotations

import gzip
import os
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Final, Self

from backout.identifiers import RunId
from backout.jsontext import dump_json
from backout.ledger import queries
from backout.ledger.archived import WholeRun, read_whole_runs
from backout.ledger.session import LedgerConnection
from backout.pipelines.customer import read_plan
from backout.pipelines.secrets import secrets_of
from backout.views.masking import mask_entry, mask_review, mask_run, mask_step
from backout.views.shapes import shape

FORMAT: Final = "backout-run"
VERSION: Final = 1
"""Counts up when a field goes or changes its meaning; fields that are added change nothing."""

_OWNER_ONLY: Final = 0o600


class ArchiveFile:
    """A new file of runs, for its owner only; compressed when its name ends in `.gz`.

    A crash leaves whole lines, and after them perhaps a part of one: what was being written was not removed yet.

    Raises:
        OSError: it cannot be made; `FileExistsError`: it is there already, and is left as it is.
    """

    def __init__(self, path: Path) -> None:
        self.path: Final = path
        self._is_compressed = path.suffix == ".gz"
        self._file: BinaryIO = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _OWNER_ONLY), "wb")
        _sync_folder(path.parent)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """Close the file."""
        self._file.close()

    def write(self, connection: LedgerConnection, run_ids: Sequence[RunId]) -> None:
        """Append runs, and return when they are on the disk. A call for runs that are there writes them once more.

        Raises:
            OSError: the disk is full, or failed; the runs must stay in the ledger.
        """
        now = queries.read_clock(connection)
        lines = [
            f"{dump_json(shape_whole_run(connection, whole, now))}\n" for whole in read_whole_runs(connection, run_ids)
        ]
        data = "".join(lines).encode()
        # Each batch is a whole part of the compressed file: gzip reads parts that follow each other as one.
        self._file.write(gzip.compress(data) if self._is_compressed else data)
        self._file.flush()
        os.fsync(self._file.fileno())


def shape_whole_run(connection: LedgerConnection, whole: WholeRun, now: datetime) -> dict[str, Any]:
    """Return a run as one line of an archive has it.

    Keys: `format` and `version`; `archived_at`; `is_masked` (values were sensitive and are not in it); `run`; `plan` as
    it was recorded; `steps` by round and position; `reviews` and `entries` in the order in which they were written.
    """
    secrets = secrets_of(connection, whole.run, read_plan(whole.plan))
    return {
        "format": FORMAT,
        "version": VERSION,
        "archived_at": shape(now),
        "is_masked": not secrets.are_none,
        "run": shape(mask_run(whole.run, secrets)),
        "plan": whole.plan,
        "steps": shape([mask_step(row, secrets) for row in whole.steps]),
        "reviews": shape([mask_review(review, secrets) for review in whole.reviews]),
        "entries": shape([mask_entry(entry, secrets) for entry in whole.entries]),
    }


def _sync_folder(folder: Path) -> None:
    """Let a crash of the machine not forget the name of a new file."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)

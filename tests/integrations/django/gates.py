"""Gates at which a step waits for the test, in a folder that both see."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from tests.integrations.django import names
from tests.support.waiting import wait_until

SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Gate:
    """One gate."""

    folder: Path
    name: str

    def pass_through(self) -> None:
        """Say that somebody stands here, and wait until it is open."""
        (self.folder / f"{self.name}.reached").touch()
        wait_until((self.folder / f"{self.name}.open").exists, SECONDS, f"gate {self.name} is open")

    def wait_until_reached(self) -> None:
        """Wait until somebody stands here."""
        wait_until((self.folder / f"{self.name}.reached").exists, SECONDS, f"somebody stands at gate {self.name}")

    def open(self) -> None:
        """Let it be passed."""
        (self.folder / f"{self.name}.open").touch()


def gate(name: str) -> Gate:
    """Return a gate of this process's test."""
    return Gate(Path(os.environ[names.GATES]), name)

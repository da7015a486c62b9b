"""Where a demo takes place: its folder, its servers and its settings, also as the worker finds them."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Final, Self

from backout.errors import ConfigurationError

FOLDER_VARIABLE: Final = "BACKOUT_DEMO_FOLDER"
"""Tells the worker, and whoever imports `backout.cli.demo.app` later, where the demo took place."""
FOLDER_PREFIX: Final = "backout-demo-"
MARKER: Final = ".backout-demo"
"""The file that says a folder is a demo's; locked while the demo runs."""
KEEP: Final = "kept"
"""What the marker says of a folder that later demos leave alone."""
SETTINGS: Final = "stage.json"
REDIS_SCHEMES: Final = ("redis", "valkey", "sentinel")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What demo and worker must agree on.

    Attributes:
        name: of this demo, unlike that of any other: queue and keys in a shared broker carry it.
        answer_seconds: how long each partner's answer is on its way.
    """

    name: str
    folder: str
    broker_url: str
    database_url: str
    answer_seconds: float

    @property
    def books_path(self) -> Path:
        """The file of the outside world's books."""
        return Path(self.folder) / "books.sqlite3"

    @property
    def key_prefix(self) -> str:
        """What all our keys in a Redis broker start with, so that nobody else's messages are touched."""
        return f"{self.name}:"

    @property
    def has_redis_broker(self) -> bool:
        """True when the broker is a Redis or a Valkey, by whatever way it is reached."""
        return self.broker_url.partition(":")[0].startswith(REDIS_SCHEMES)

    def save(self) -> None:
        """Write it into the folder, readable by nobody else: the URLs may hold passwords."""
        path = Path(self.folder) / SETTINGS
        path.touch(mode=0o600)
        path.write_text(json.dumps(asdict(self), indent=2), encoding="utf-8")

    @classmethod
    def of_environment(cls) -> Self | None:
        """Return the stage of the folder that the environment names; `None` when it names none."""
        folder = os.environ.get(FOLDER_VARIABLE)
        if not folder:
            return None
        try:
            return cls(**json.loads((Path(folder) / SETTINGS).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise ConfigurationError(
                problem=f"{FOLDER_VARIABLE} names {folder!r}, which is no folder of a demo ({error})",
                remedy="Name the folder that `backout demo` printed, or unset the variable",
            ) from error


@contextmanager
def open_folder(chosen: Path | None, *, is_kept: bool) -> Iterator[Path]:
    """Give an empty folder for a demo; it stays when the demo is over.

    Args:
        chosen: by the user; without it a new one is made, and those of earlier demos are removed.
        is_kept: later demos leave it alone.

    Raises:
        ConfigurationError: the chosen folder has files of other kinds, or is used by a demo right now.
    """
    if chosen is None:
        remove_old_folders(Path(tempfile.gettempdir()))
        folder = Path(tempfile.mkdtemp(prefix=FOLDER_PREFIX)).resolve()
    else:
        folder = chosen.resolve()
        _check_usable(folder)
        folder.mkdir(parents=True, exist_ok=True)
    marker = _lock(folder)
    if marker is None:
        raise _unusable(folder, "another demo is using it")
    with marker:
        _clear(folder)
        marker.truncate(0)
        marker.write(KEEP if is_kept or chosen is not None else "")
        marker.flush()
        yield folder


def remove_old_folders(parent: Path) -> None:
    """Remove the folders of earlier demos, except kept ones, running ones and those of other users."""
    for folder in parent.glob(f"{FOLDER_PREFIX}*"):
        if not _is_own_demo(folder):
            continue
        marker = _lock(folder)
        if marker is not None:
            with marker:
                marker.seek(0)
                if marker.read() != KEEP:
                    shutil.rmtree(folder, ignore_errors=True)


def _is_own_demo(folder: Path) -> bool:
    try:
        is_own = folder.lstat().st_uid == os.getuid()
    except OSError:
        return False
    return is_own and not folder.is_symlink() and (folder / MARKER).is_file()


def _check_usable(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise _unusable(folder, "it is no folder")
    if folder.is_dir() and any(folder.iterdir()) and not _is_own_demo(folder):
        raise _unusable(folder, "it has files that are not a demo's")


def _lock(folder: Path) -> IO[str] | None:
    """Return the locked marker; `None` when a demo that is running holds it. The lock ends with the process."""
    marker = (folder / MARKER).open("a+", encoding="utf-8")
    try:
        fcntl.flock(marker, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        marker.close()
        return None
    return marker


def _clear(folder: Path) -> None:
    for path in folder.iterdir():
        if path.name != MARKER:
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def _unusable(folder: Path, problem: str) -> ConfigurationError:
    return ConfigurationError(
        problem=f"the folder {folder} cannot be used for the demo: {problem}",
        remedy="Give --folder an empty folder or one of an earlier demo, or leave it out",
    )

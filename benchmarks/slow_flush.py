"""A PostgreSQL whose every flush takes longer, as on a network disk: a small library is compiled and preloaded."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

SOURCE: Final = Path(__file__).with_name("slow_flush.c")
COMPILERS: Final = ("cc", "gcc", "clang")
FLUSH_VARIABLE: Final = "BACKOUT_BENCH_FLUSH_US"


class CannotSlowDown(Exception):
    """Why flushes cannot be made slower on this machine."""


@contextmanager
def slow_flushes(milliseconds: float) -> Iterator[Mapping[str, str]]:
    """Yield the environment for a server whose flushes take so much longer; empty for 0.

    Raises:
        CannotSlowDown: there is no compiler, it fails, or this is not Linux.
    """
    if milliseconds == 0:
        yield {}
        return
    with tempfile.TemporaryDirectory(prefix="backout-flush-") as name:
        folder = Path(name)
        # The server may run under another account than ours.
        folder.chmod(0o755)
        library = _compile(folder)
        yield {"LD_PRELOAD": str(library), FLUSH_VARIABLE: str(round(milliseconds * 1000))}


def _compile(folder: Path) -> Path:
    compiler = next(filter(None, map(shutil.which, COMPILERS)), None)
    if sys.platform != "linux":
        raise CannotSlowDown("--slow-flush preloads a library, which works on Linux only")
    if compiler is None:
        raise CannotSlowDown(
            f"--slow-flush needs a C compiler, and none of {', '.join(COMPILERS)} is on the PATH "
            "(apt install gcc libc6-dev)"
        )
    library = folder / "slow_flush.so"
    command = [compiler, "-O2", "-shared", "-fPIC", "-o", str(library), str(SOURCE), "-ldl"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise CannotSlowDown(f"--slow-flush: {' '.join(command)} failed\n{done.stderr[-2000:]}")
    library.chmod(0o755)
    return library

"""`backout demo` as a person runs it: a process of its own, everything of which names one short folder."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

TIMEOUT_SECONDS = 180.0
"""A demo takes ten seconds; a busy machine is no failure."""
LEDGER_VARIABLE = "BACKOUT_DATABASE_URL"


@contextmanager
def place_for_demos() -> Iterator[Path]:
    """Give a folder with a short path (a socket goes below it), removed in the end."""
    folder = Path(tempfile.mkdtemp(prefix="demo-", dir="/tmp"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def demo_environment(place: Path) -> dict[str, str]:
    """Return the environment of a demo whose folder and broker are made in `place`.

    It names a ledger and a broker that are not there, as the shell of somebody who has work of their own may.
    """
    own = {"TMPDIR": str(place), LEDGER_VARIABLE: "sqlite:////nowhere/ledger", "CELERY_BROKER_URL": "redis://nowhere/0"}
    return {**os.environ, **own, "COLUMNS": "100"}


def start_demo(place: Path, *options: str) -> subprocess.Popen[str]:
    """Start `backout demo` in a session of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "backout", "demo", "--fast", *options],
        env=demo_environment(place),
        # Elsewhere than in the checkout, so that the commands it suggests work from anywhere.
        cwd=place,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        start_new_session=True,
    )


def finish_demo(demo: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Wait for a demo's end; return its exit code and what it printed. One that does not end is killed."""
    try:
        printed, complained = demo.communicate(timeout=TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(demo.pid, signal.SIGKILL)
        printed, complained = demo.communicate()
        raise AssertionError(f"the demo did not end; it printed\n{printed}\n{complained}") from None
    return demo.returncode, printed, complained


def run_demo(place: Path, *options: str) -> tuple[int, str, str]:
    """Run a demo to its end."""
    return finish_demo(start_demo(place, *options))


def read_until(demo: subprocess.Popen[str], text: str) -> None:
    """Read what a demo prints until a line has this text."""
    assert demo.stdout is not None
    for line in demo.stdout:
        if text in line:
            return
    raise AssertionError(f"the demo ended and did not print {text!r}; {finish_demo(demo)}")


def processes_naming(place: Path) -> dict[int, str]:
    """Return the processes that have a path below `place` in their command or environment: the id, and the command."""
    if sys.platform != "linux":
        listing = subprocess.run(["ps", "-axEww", "-o", "pid=,command="], capture_output=True, text=True, check=True)
        lines = [line.strip().partition(" ") for line in listing.stdout.splitlines() if str(place) in line]
        return {int(pid): command for pid, _, command in lines}
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command, environment = (folder / "cmdline").read_bytes(), (folder / "environ").read_bytes()
        except OSError:
            continue
        if str(place).encode() in command + environment:
            found[int(folder.name)] = command.replace(b"\0", b" ").decode(errors="replace")
    return found

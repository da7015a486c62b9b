"""Groups of processes that are measured: start, pause, go on, stop; how much processor time and memory they take."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

ROOT: Final = Path(__file__).parents[1]
STOP_SECONDS: Final = 60.0


class ProcessGroup:
    """A process and all that it starts."""

    def __init__(self, command: Sequence[str], *, variables: Mapping[str, str], log: Path) -> None:
        self.log = log
        with log.open("w") as output:
            # A group of its own, which can be paused, in our session: when we are killed it has no parent in the
            # session any more, and the kernel wakes what is paused and sends it SIGHUP (POSIX, setpgid).
            self._process = subprocess.Popen(
                command,
                cwd=ROOT,
                env={**os.environ, **variables},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                process_group=0,
            )
        self._is_paused = False

    @property
    def id(self) -> int:
        """The process id of the first process, and of the group."""
        return self._process.pid

    @property
    def has_ended(self) -> bool:
        """Whether the first process is gone."""
        return self._process.poll() is not None

    def pause(self) -> None:
        """Let the group do nothing, so that it does not disturb who is measured."""
        self._signal(signal.SIGSTOP)
        self._is_paused = True

    def go_on(self) -> None:
        """End a pause."""
        self._signal(signal.SIGCONT)
        self._is_paused = False

    def stop(self) -> None:
        """Stop the group in order, or kill it."""
        if self.has_ended:
            return
        self._process.send_signal(signal.SIGTERM)
        self._signal(signal.SIGCONT)
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._signal(signal.SIGKILL)
            self._process.wait()

    def cpu_seconds(self) -> float:
        """Return the processor time so far."""
        return cpu_seconds(self.id)

    def log_tail(self) -> str:
        """Return the end of what was printed."""
        return self.log.read_text(errors="replace")[-4000:]

    def _signal(self, number: signal.Signals) -> None:
        if not self.has_ended:
            os.killpg(self.id, number)


def leave_in_order() -> None:
    """Let SIGTERM end this process as an exception does: what was started is stopped by the ends of its blocks."""
    signal.signal(signal.SIGTERM, _leave)


def _leave(_number: int, _frame: object) -> NoReturn:
    raise SystemExit(143)


def cpu_seconds(process_id: int | None) -> float:
    """Return the processor time of a process and of all its descendants; 0 where there is no /proc."""
    if process_id is None:
        return 0.0
    ticks = sum(_ticks(member) for member in (process_id, *descendants(process_id)))
    return ticks / os.sysconf("SC_CLK_TCK")


def descendants(process_id: int) -> Iterator[int]:
    """Yield the ids of all processes below one; none where there is no /proc."""
    for listed in Path(f"/proc/{process_id}/task").glob("*/children"):
        for child in map(int, _read(listed).split()):
            yield child
            yield from descendants(child)


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Of one process; 0 where there is no /proc. A megabyte is 2**20 bytes."""

    pss_mb: float
    rss_mb: float
    is_sweeper: bool


def memory_of(process_id: int) -> Memory:
    """Return what a process takes."""
    rows = [line.split() for line in _read(Path(f"/proc/{process_id}/smaps_rollup")).splitlines()]
    kilobytes = {row[0]: int(row[1]) for row in rows if len(row) == 3 and row[1].isdigit()}
    return Memory(
        pss_mb=kilobytes.get("Pss:", 0) / 1024,
        rss_mb=kilobytes.get("Rss:", 0) / 1024,
        is_sweeper="sweep" in _read(Path(f"/proc/{process_id}/cmdline")),
    )


def _ticks(process_id: int) -> int:
    fields = _read(Path(f"/proc/{process_id}/stat")).rpartition(")")[2].split()
    # utime, stime, and the same of children that have ended (proc(5), fields 14 to 17).
    return sum(map(int, fields[11:15]))


def _read(path: Path) -> str:
    """Return what /proc says; nothing of a process that is gone."""
    try:
        return path.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""

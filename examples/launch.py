"""Run an example with all that it needs: an embedded broker, its programs, and their output on one terminal."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.error import HTTPError
from urllib.request import urlopen

import click

from backout.testing.servers import DEMO_SOURCES, ServerUnavailable, start_broker

READY_SECONDS = 60.0
STOP_SECONDS = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A program of an example; it runs until it is stopped."""

    name: str
    command: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """What an example runs.

    Attributes:
        folder: the working directory.
        broker_variable: the environment variable in which its programs find the broker's URL.
        environment: what else its programs find there.
        preparations: commands that end, run first, in order.
        programs: what then runs until Ctrl-C.
        url: answers when the example is ready.
        welcome: what to do next, printed when it is.
    """

    folder: Path
    broker_variable: str
    environment: Mapping[str, str]
    preparations: Sequence[Sequence[str]]
    programs: Sequence[Program]
    url: str
    welcome: str


def free_port(wanted: int) -> int:
    """Return the port that is wanted, or another one where that is taken."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise click.ClickException("This machine has no free port.")


def launch(example: Example) -> None:
    """Run an example until Ctrl-C, or until one of its programs ends.

    Raises:
        click.ClickException: something did not start, or ended by itself; its output says why.
    """
    # A supervisor says "end" with SIGTERM; all that is started here must go with us.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with start_broker(sources=DEMO_SOURCES) as broker:
            _run(example, {**os.environ, **example.environment, example.broker_variable: broker.url})
    except ServerUnavailable as error:
        raise click.ClickException(str(error)) from error
    except KeyboardInterrupt:
        click.echo("\nStopped.")


def _run(example: Example, environment: Mapping[str, str]) -> None:
    for command in example.preparations:
        done = subprocess.run(command, cwd=example.folder, env=environment, check=False)
        if done.returncode != 0:
            raise click.ClickException(f"`{' '.join(command)}` ended with exit code {done.returncode}.")
    with _started(example, environment) as processes:
        _wait_for(example, processes)
        click.secho(f"\n{example.welcome}\nCtrl-C ends it.\n", bold=True)
        while True:
            _require_all(processes)
            time.sleep(0.5)


@contextmanager
def _started(example: Example, environment: Mapping[str, str]) -> Iterator[dict[str, subprocess.Popen[str]]]:
    processes: dict[str, subprocess.Popen[str]] = {}
    try:
        for program in example.programs:
            processes[program.name] = _start(program, example.folder, environment)
        yield processes
    finally:
        for process in processes.values():
            process.terminate()
        for process in processes.values():
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)


def _start(program: Program, folder: Path, environment: Mapping[str, str]) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        program.command,
        cwd=folder,
        env={**environment, "PYTHONUNBUFFERED": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # A session of its own: Ctrl-C is ours, and each program is then stopped in order.
        start_new_session=True,
    )
    assert process.stdout is not None
    threading.Thread(target=_print_lines, args=(program.name, process.stdout), daemon=True).start()
    return process


def _print_lines(name: str, lines: IO[str]) -> None:
    for line in lines:
        sys.stdout.write(f"{name:>7} | {line}")
        sys.stdout.flush()


def _wait_for(example: Example, processes: Mapping[str, subprocess.Popen[str]]) -> None:
    ends_at = time.monotonic() + READY_SECONDS
    while not _answers(example.url):
        _require_all(processes)
        if time.monotonic() > ends_at:
            raise click.ClickException(f"{example.url} did not answer within {READY_SECONDS:g} s.")
        time.sleep(0.2)


def _answers(url: str) -> bool:
    try:
        with urlopen(url, timeout=5):
            return True
    except HTTPError:
        return True
    except OSError:
        return False


def _require_all(processes: Mapping[str, subprocess.Popen[str]]) -> None:
    for name, process in processes.items():
        if process.poll() is not None:
            raise click.ClickException(f"The {name} ended with exit code {process.returncode}; see its output above.")

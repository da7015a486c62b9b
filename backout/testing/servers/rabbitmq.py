"""A private RabbitMQ node for tests.

It listens on a free port of the loopback interface, and has a folder, a cookie and a port mapper (epmd) of its own: a
node that the machine runs already is neither joined nor disturbed. When we are root it runs as `nobody`.
"""

from __future__ import annotations

import os
import random
import re
import secrets
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

from kombu import Connection
from kombu.exceptions import OperationalError

from backout.testing.servers.process import (
    Account,
    GuardedServer,
    is_reachable,
    server_environment,
    unprivileged_account,
)
from backout.testing.servers.programs import Program, ServerSource, ServerUnavailable
from backout.testing.servers.valkey import TEST_SOURCES

URL_VARIABLE: Final = "BACKOUT_TEST_AMQP_URL"
OLDEST_VERSION = (3, 10)
INSTALLATION_FOLDERS = (
    "/usr/lib/rabbitmq/bin",  # Debian, Ubuntu, Fedora
    "/opt/rabbitmq/sbin",  # Docker's image
    "/opt/homebrew/opt/rabbitmq/sbin",  # Homebrew on Apple silicon
    "/usr/local/opt/rabbitmq/sbin",  # Homebrew on Intel
)
PORTS = range(20_000, 30_000)
"""Outside of what systems give to outgoing connections: nobody takes a port by chance while its node is stopped."""
PORT_TRIALS = 50
START_TIMEOUT_SECONDS = 60.0
STOP_TIMEOUT_SECONDS = 30.0
COMMAND_TIMEOUT_SECONDS = 60.0
CONNECT_TIMEOUT_SECONDS = 5.0


class RabbitMQ:
    """A RabbitMQ node: our own, or one that the environment names."""

    def __init__(self, *, url: str, version: str, server: _RabbitNode | None) -> None:
        """Describe a node that runs; `server` is None for one that is not ours."""
        self.url = url
        """For Celery, for example `amqp://guest:guest@127.0.0.1:21234//`."""
        self.version = version
        """For people, for example `RabbitMQ 3.10.8 (binary)`."""
        self._server = server

    @property
    def pid(self) -> int | None:
        """Return the node's process id; None while it does not run, and for a node that is not ours."""
        return self._server.guarded.pid if self._server else None

    @property
    def guardian_pid(self) -> int | None:
        """Return the id of the process that ends the node with us; None for a node that is not ours."""
        return self._server.guarded.guardian_pid if self._server else None

    @property
    def folder(self) -> Path | None:
        """Return the folder of the node's files; None for a node that is not ours."""
        return self._server.guarded.folder if self._server else None

    def stop(self) -> None:
        """Stop the node in order; durable queues and persistent messages are there after `restart`."""
        self._own_server().guarded.end(signal.SIGTERM, timeout_seconds=STOP_TIMEOUT_SECONDS)

    def kill(self) -> None:
        """End the node with SIGKILL, as a crash would; what was confirmed is there after `restart`."""
        self._own_server().guarded.end(signal.SIGKILL, timeout_seconds=STOP_TIMEOUT_SECONDS)

    def restart(self) -> None:
        """Stop the node if it runs, then start it again under the same URL."""
        self.stop()
        self._own_server().start()

    def flush(self) -> None:
        """Delete every queue of the node, messages included; who consumes from one is told so."""
        self.evaluate(
            "lists:foreach(fun(Q) -> rabbit_amqqueue:delete(Q, false, false, <<>>) end, "
            "[Q || V <- rabbit_vhost:list_names(), Q <- rabbit_amqqueue:list(V)])."
        )

    def close_connections(self, reason: str) -> None:
        """Close all clients' connections, as an operator or a node that leaves a cluster would."""
        self.control("close_all_connections", reason)

    def block_publishers(self) -> None:
        """Raise the memory alarm: the node takes no more messages, and does not say so to who waits for an answer."""
        self.control("set_vm_memory_high_watermark", "absolute", "1")

    def unblock_publishers(self) -> None:
        """Clear the memory alarm."""
        self.control("set_vm_memory_high_watermark", "0.8")

    def count_messages(self, queue: str) -> tuple[int, int]:
        """Return how many messages of a queue wait, and how many were delivered and are not acknowledged yet.

        A queue that does not exist has none of either. Counted by the node, which takes about a second.
        """
        answer = self.control("list_queues", "--quiet", "name", "messages_ready", "messages_unacknowledged")
        for line in answer.splitlines():
            name, *counts = line.split("\t")
            if name == queue:
                return int(counts[0]), int(counts[1])
        return 0, 0

    def control(self, *words: str) -> str:
        """Run `rabbitmqctl` on the node (about a second) and return what it prints.

        Raises `ServerUnavailable` with its words if it fails, and for a node that is not ours.
        """
        return self._own_server().control(*words)

    def evaluate(self, expression: str) -> str:
        """Evaluate an Erlang expression, which ends with a full stop, inside the node."""
        return self.control("eval", expression)

    def _own_server(self) -> _RabbitNode:
        if self._server is None:
            raise ServerUnavailable(
                problem=f"RabbitMQ comes from {URL_VARIABLE}, so it is not ours to stop, start or command",
                remedy=f"Unset {URL_VARIABLE}, or leave this out.",
            )
        return self._server


@contextmanager
def start_rabbitmq(
    *, sources: Sequence[ServerSource] = TEST_SOURCES, options: Mapping[str, int | str] | None = None
) -> Iterator[RabbitMQ]:
    """Start RabbitMQ from the first source that has it (about four seconds), and stop it at the end of the block.

    `options` are settings of the application `rabbit` as Erlang terms, for example `{"consumer_timeout": 3000,
    "channel_tick_interval": 500}` (milliseconds). Raises `ServerUnavailable` if no source has a server, or the one
    found does not start.
    """
    external_url = os.environ.get(URL_VARIABLE)
    if sources and sources[0] is ServerSource.ENVIRONMENT and external_url:
        yield connect_external(external_url)
        return
    account = unprivileged_account()
    program = find_program(sources, account=account)
    with ExitStack() as stack:
        # The port mapper has a guardian of its own, because a guardian looks after one process.
        mapper = stack.enter_context(GuardedServer(name="epmd", final_signal=signal.SIGKILL, account=account))
        guarded = stack.enter_context(GuardedServer(name="rabbitmq", final_signal=signal.SIGKILL, account=account))
        server = _RabbitNode(guarded=guarded, mapper=mapper, program=program, options=options or {})
        server.prepare()
        server.start()
        yield RabbitMQ(url=server.url, version=program.label, server=server)


def connect_external(url: str) -> RabbitMQ:
    """Return the node at the URL; raises `ServerUnavailable` if it does not answer."""
    connection = Connection(url, connect_timeout=CONNECT_TIMEOUT_SECONDS)
    try:
        connection.ensure_connection(max_retries=1, interval_start=0, timeout=CONNECT_TIMEOUT_SECONDS)
        facts = connection.connection.server_properties
    except (OSError, OperationalError, *connection.connection_errors) as error:
        raise ServerUnavailable(
            problem=f"{URL_VARIABLE} names a server that does not answer: {str(error).rstrip('.')}",
            remedy="Start it, correct the URL, or unset the variable to have a private server started.",
        ) from error
    finally:
        connection.release()
    return RabbitMQ(
        url=url,
        version=f"{facts.get('product', 'AMQP server')} {facts.get('version', '?')} ({ServerSource.ENVIRONMENT})",
        server=None,
    )


def find_program(sources: Sequence[ServerSource], *, account: Account | None) -> Program:
    """Return the first program that the account can run and that is new enough; raises `ServerUnavailable` if none."""
    folders = program_folders() if ServerSource.MACHINE in sources else iter(())
    for folder in folders:
        program = read_installation(folder)
        if (
            program is None
            or program.version_numbers < OLDEST_VERSION
            or shutil.which("erl", path=search_path()) is None
        ):
            continue
        if is_reachable(program.path, account=account) and program.path.with_name("rabbitmqctl").exists():
            return program
    raise ServerUnavailable(
        problem="no RabbitMQ server found on this machine",
        remedy="Install one: apt install rabbitmq-server, or brew install rabbitmq.",
    )


def program_folders() -> Iterator[Path]:
    """Yield the folders that may hold RabbitMQ's programs."""
    if on_path := shutil.which("rabbitmq-server"):
        yield Path(on_path).resolve().parent
    yield from map(Path, INSTALLATION_FOLDERS)


def read_installation(folder: Path) -> Program | None:
    """Return the server program of an installation; None where there is none.

    The version is read from the names of its files: asking the program takes half a second.
    """
    path = (folder / "rabbitmq-server").resolve()
    # Debian's program on the PATH is a wrapper that changes to an account of its own.
    if path.name != "rabbitmq-server" or not path.exists():
        return None
    for plugin in path.parents[1].glob("plugins/rabbit-[0-9]*"):
        if found := re.match(r"rabbit-(\d+(?:\.\d+)*)", plugin.name):
            return Program(path=path, product="RabbitMQ", version=found[1], source=ServerSource.MACHINE)
    return None


def search_path() -> str:
    """Return where RabbitMQ's scripts find Erlang's programs and the system's."""
    erlang = shutil.which("erl")
    return os.pathsep.join([*([str(Path(erlang).parent)] if erlang else []), server_environment()["PATH"]])


def free_port() -> int:
    """Return a port of the loopback interface on which nobody listens."""
    for port in random.sample(PORTS, PORT_TRIALS):
        with socket.socket() as probe:
            # As servers do: a port is free although a connection of an earlier server has not faded yet.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
    raise ServerUnavailable(
        problem=f"no free port between {PORTS.start} and {PORTS.stop}",
        remedy="Look what listens there, for example with `ss -ltn`.",
    )


class _RabbitNode:
    """Starts the port mapper and the node, again after a stop, always on the same ports."""

    def __init__(
        self, *, guarded: GuardedServer, mapper: GuardedServer, program: Program, options: Mapping[str, int | str]
    ) -> None:
        self.guarded = guarded
        self.mapper = mapper
        self.program = program
        self.options = options
        self.port, self.distribution_port, self.mapper_port = free_port(), free_port(), free_port()
        self.name = f"backout-{self.port}@localhost"
        self.url = f"amqp://guest:guest@127.0.0.1:{self.port}//"
        folder = guarded.folder
        self.mapper_environment = {
            "PATH": search_path(),
            "ERL_EPMD_PORT": str(self.mapper_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
        }
        self.environment = {
            **self.mapper_environment,
            "HOME": str(folder),
            "RABBITMQ_NODENAME": self.name,
            "RABBITMQ_DIST_PORT": str(self.distribution_port),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(folder / "advanced.config"),
            # None of the machine's own: they would name its node and its folders.
            "RABBITMQ_CONF_ENV_FILE": str(folder / "none.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
            "RABBITMQ_MNESIA_BASE": str(folder / "data"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_LOGS": "-",
            # Makes the script become the node instead of waiting for it: the process that we signal is the node.
            "RABBITMQ_ALLOW_INPUT": "1",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-noinput -kernel inet_dist_use_interface {127,0,0,1}",
        }

    def prepare(self) -> None:
        settings = ", ".join(f"{{{name}, {value}}}" for name, value in self.options.items())
        files = {
            "rabbitmq.conf": f"listeners.tcp.local = 127.0.0.1:{self.port}\ndisk_free_limit.absolute = 1MB\n",
            "advanced.config": f"[{{rabbit, [{settings}]}}].\n",
            "plugins": "[].\n",
            ".erlang.cookie": secrets.token_hex(16),
        }
        for name, text in files.items():
            path = self.guarded.folder / name
            path.write_text(text)
            path.chmod(0o400)
            if account := self.guarded.account:
                os.chown(path, account.user_id, account.group_id)

    def start(self) -> None:
        if self.mapper.pid is None:
            self.mapper.start(
                ["epmd", "-port", str(self.mapper_port), "-address", "127.0.0.1"],
                environment=self.mapper_environment,
                is_ready=lambda: accepts(self.mapper_port),
                timeout_seconds=START_TIMEOUT_SECONDS,
            )
        self.guarded.start(
            [str(self.program.path)],
            environment=self.environment,
            is_ready=self.answers,
            timeout_seconds=START_TIMEOUT_SECONDS,
        )

    def answers(self) -> bool:
        if not accepts(self.port):
            return False
        connection = Connection(self.url, connect_timeout=CONNECT_TIMEOUT_SECONDS)
        try:
            connection.connect()
        except (OSError, *connection.connection_errors):
            return False
        finally:
            connection.release()
        return True

    def control(self, *words: str) -> str:
        account: dict[str, Any] = {}
        if self.guarded.account is not None:
            # The cookie is the account's, and Erlang reads it only for its owner.
            account = {"user": self.guarded.account.user_id, "group": self.guarded.account.group_id, "extra_groups": []}
        try:
            done = subprocess.run(
                [self.program.path.with_name("rabbitmqctl"), "--node", self.name, *words],
                env={**server_environment(), **self.environment},
                cwd=self.guarded.folder,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=COMMAND_TIMEOUT_SECONDS,
                check=False,
                **account,
            )
        except subprocess.TimeoutExpired as error:
            raise ServerUnavailable(problem=str(error), remedy="Look into the node's log.") from error
        if done.returncode != 0:
            raise ServerUnavailable(
                problem=f"rabbitmqctl {words[0]} failed with exit code {done.returncode}",
                remedy=f"It said:\n{done.stdout}{done.stderr}",
            )
        printed: str = done.stdout
        return printed


def accepts(port: int) -> bool:
    """Tell whether somebody listens on a port of the loopback interface."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0

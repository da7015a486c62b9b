"""A private MariaDB (or MySQL) server for tests.

It listens on a Unix socket in a folder that only its owner can enter; `root` has no password there. When we are root it
runs as `nobody`, because it refuses to run as root. Needs the extra `mysql`. Tried with MariaDB 10.11; how MySQL is
prepared follows its manual.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit, urlunsplit

import pymysql
import pymysql.constants.CR

from backout.testing.servers.process import Account, GuardedServer, is_reachable, unprivileged_account
from backout.testing.servers.programs import Program, ServerSource, ServerUnavailable, read_program
from backout.testing.servers.valkey import TEST_SOURCES

URL_VARIABLE: Final = "BACKOUT_TEST_MYSQL_URL"
OLDEST_VERSIONS: Final = {"MariaDB": (10, 6), "MySQL": (8, 0, 17)}
"""SKIP LOCKED came with MariaDB 10.6; the collation utf8mb4_0900_bin with MySQL 8.0.17, after its CHECKs."""
USER_NAME = "root"
MAINTENANCE_DATABASE = "mysql"
PROGRAM_NAMES = ("mariadbd", "mysqld")
PROGRAM_FOLDERS = (
    "/usr/sbin",  # Debian and Ubuntu, not on the PATH of ordinary users
    "/usr/libexec",  # Fedora and its relatives
    "/opt/homebrew/opt/mariadb/bin",  # Homebrew on Apple silicon
    "/opt/homebrew/opt/mysql/bin",
    "/usr/local/opt/mariadb/bin",  # Homebrew on Intel
    "/usr/local/opt/mysql/bin",
    "/usr/local/mysql/bin",  # packages of MySQL itself
)
INSTALLER_NAMES = ("mariadb-install-db", "mysql_install_db")
PREPARE_TIMEOUT_SECONDS = 120.0
START_TIMEOUT_SECONDS = 60.0
STOP_TIMEOUT_SECONDS = 30.0


class MariaDB:
    """A MariaDB or MySQL server: our own, or one that the environment names."""

    def __init__(self, *, url: str, version: str, server: _MariaDBServer | None) -> None:
        """Describe a server that runs; `server` is None for one that is not ours."""
        self.url = url
        """Of the maintenance database, for SQLAlchemy: `mariadb+pymysql://…`, `mysql+pymysql://…` for MySQL."""
        self.version = version
        """For people, for example `MariaDB 10.11.19 (binary)`."""
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

    def database_url(self, name: str) -> str:
        """Return the URL of the database called `name`, for SQLAlchemy."""
        return urlunsplit(urlsplit(self.url)._replace(path=f"/{name}"))

    def create_database(self, name: str) -> str:
        """Create an empty database with the server's default character set, and return its URL."""
        self._administer(f"CREATE DATABASE {_quoted(name)}")
        return self.database_url(name)

    def drop_database(self, name: str) -> None:
        """Remove the database, ending the connections to it. Does nothing if it does not exist."""
        # DROP DATABASE would wait for every transaction that has touched one of its tables.
        for (connection_id,) in self._administer("SELECT id FROM information_schema.processlist WHERE db = %s", name):
            self._administer("KILL %s", connection_id, may_fail_with=NO_SUCH_CONNECTION)
        self._administer(f"DROP DATABASE IF EXISTS {_quoted(name)}")

    def stop(self) -> None:
        """Stop the server in order, ending the connections to it."""
        self._own_server().guarded.end(signal.SIGTERM, timeout_seconds=STOP_TIMEOUT_SECONDS)

    def kill(self) -> None:
        """End the server with SIGKILL, as a crash would; what was committed is there after `restart`."""
        self._own_server().guarded.end(signal.SIGKILL, timeout_seconds=STOP_TIMEOUT_SECONDS)

    def restart(self) -> None:
        """Stop the server if it runs, then start it again under the same URLs."""
        self.stop()
        self._own_server().start()

    def _administer(self, statement: str, *values: object, may_fail_with: int | None = None) -> Sequence[Any]:
        connection = connect(self.url)
        try:
            with connection.cursor() as cursor:
                cursor.execute(statement, values or None)
                rows: Sequence[Any] = cursor.fetchall()
        except pymysql.MySQLError as error:
            if error.args[0] != may_fail_with:
                raise
            return ()
        finally:
            connection.close()
        return rows

    def _own_server(self) -> _MariaDBServer:
        if self._server is None:
            raise ServerUnavailable(
                problem=f"MariaDB comes from {URL_VARIABLE}, so it is not ours to stop or start",
                remedy=f"Unset {URL_VARIABLE}, or leave this out.",
            )
        return self._server


NO_SUCH_CONNECTION: Final = 1094
"""Error number: the connection to be killed has ended by itself."""


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


@contextmanager
def start_mariadb(*, sources: Sequence[ServerSource] = TEST_SOURCES, durable: bool = True) -> Iterator[MariaDB]:
    """Start MariaDB or MySQL from the first source that has it, and stop it at the end of the block.

    Unless `durable`, a commit does not wait for the disk: what was committed survives a crash of the server, not of the
    machine. Raises `ServerUnavailable` if no source has a server, or the one found does not start.
    """
    external_url = os.environ.get(URL_VARIABLE)
    if sources and sources[0] is ServerSource.ENVIRONMENT and external_url:
        yield connect_external(external_url)
        return
    account = unprivileged_account()
    program = find_program(sources, account=account)
    with GuardedServer(name="mariadb", final_signal=signal.SIGKILL, account=account) as guarded:
        server = _MariaDBServer(guarded=guarded, program=program, durable=durable)
        server.prepare()
        server.start()
        yield MariaDB(url=server.url, version=program.label, server=server)


def connect_external(url: str) -> MariaDB:
    """Return the server at the URL, whose user may create databases; raises `ServerUnavailable` if it does not answer.

    Both schemes are understood, with or without a driver; the server's own product decides on the one that is used.
    """
    try:
        connection = connect(url)
    except pymysql.MySQLError as error:
        raise ServerUnavailable(
            problem=f"{URL_VARIABLE} names a server that does not answer: {str(error).rstrip('.')}",
            remedy="Start it, correct the URL, or unset the variable to have a private server started.",
        ) from error
    said = connection.get_server_info()
    connection.close()
    product = "MariaDB" if "MariaDB" in said else "MySQL"
    # Older clients refuse a first number above 5, so MariaDB may say "5.5.5-10.11.19-MariaDB".
    number = re.match(r"(?:5\.5\.5-)?(\d+(?:\.\d+)*)", said)
    driver_url = re.sub(r"^\w+(\+\w+)?://", f"{product.lower()}+pymysql://", url)
    label = f"{product} {number[1] if number else '?'} ({ServerSource.ENVIRONMENT})"
    return MariaDB(url=driver_url, version=label, server=None)


def connect(url: str) -> Any:
    """Open a connection of the driver's own to SQLAlchemy's URL, in autocommit."""
    parts = urlsplit(url)
    path = {name: values[-1] for name, values in parse_qs(parts.query).items()}.get("unix_socket")
    connection = pymysql.connect(
        host=parts.hostname,
        port=parts.port or 0,
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        database=parts.path.removeprefix("/") or None,
        autocommit=True,
        defer_connect=True,
    )
    connection.connect(sock=_open_socket(path) if path else None)
    return connection


def _open_socket(path: str) -> socket.socket:
    # PyMySQL 1.2 leaves its socket open when nobody listens, and we ask until somebody does.
    opened = socket.socket(socket.AF_UNIX)
    try:
        opened.connect(path)
    except OSError as error:
        opened.close()
        raise pymysql.OperationalError(pymysql.constants.CR.CR_CONNECTION_ERROR, f"{path}: {error}") from error
    return opened


def find_program(sources: Sequence[ServerSource], *, account: Account | None) -> Program:
    """Return the first program that the account can run and that is new enough; raises `ServerUnavailable` if none."""
    for source in sources:
        for path in program_paths(source):
            program = read_program(path, source=source)
            if program is None or program.version_numbers < OLDEST_VERSIONS[program.product]:
                continue
            if is_reachable(path, account=account) and (program.product == "MySQL" or find_installer(path)):
                return program
    raise ServerUnavailable(
        problem="no MariaDB or MySQL server found: neither mariadbd nor mysqld is installed",
        remedy="Install one: apt install mariadb-server, or brew install mariadb.",
    )


def program_paths(source: ServerSource) -> Iterator[Path]:
    """Yield the files that may be server programs."""
    if source is not ServerSource.MACHINE:
        return
    yield from (Path(found) for name in PROGRAM_NAMES if (found := shutil.which(name)))
    candidates = (Path(folder, name) for folder in PROGRAM_FOLDERS for name in PROGRAM_NAMES)
    yield from (path for path in candidates if path.exists())


def find_installer(program: Path) -> Path | None:
    """Return MariaDB's script that makes the system tables; None where it is not installed."""
    for name in INSTALLER_NAMES:
        beside = (program.with_name(name), program.parents[1] / "bin" / name, program.parents[1] / "scripts" / name)
        if found := next((path for path in beside if path.exists()), None):
            return found
        if on_path := shutil.which(name):
            return Path(on_path)
    return None


class _MariaDBServer:
    """Makes a data folder and starts the program on it, again after a stop, always on the same socket."""

    def __init__(self, *, guarded: GuardedServer, program: Program, durable: bool) -> None:
        self.guarded = guarded
        self.program = program
        self.data_folder = guarded.folder / "data"
        self.socket = guarded.folder / "socket"
        self.url = f"{program.product.lower()}+pymysql://{USER_NAME}@/{MAINTENANCE_DATABASE}?unix_socket={self.socket}"
        # First, so that no file of the machine's own server is read.
        self.options = ["--no-defaults", f"--datadir={self.data_folder}", f"--tmpdir={guarded.folder}"]
        self.options += [f"--socket={self.socket}", f"--pid-file={guarded.folder / 'pid'}"]
        self.options += ["--skip-networking", "--skip-name-resolve", "--loose-mysqlx=OFF"]
        self.options += ["--max-connections=200", "--innodb-buffer-pool-size=32M", "--innodb-log-file-size=16M"]
        if not durable:
            self.options += ["--innodb-flush-log-at-trx-commit=2", "--sync-binlog=0"]

    def prepare(self) -> None:
        if self.program.product == "MySQL":
            command = [str(self.program.path), *self.options, "--initialize-insecure"]
        else:
            options = ["--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve"]
            folder = f"--datadir={self.data_folder}"
            command = [str(find_installer(self.program.path)), "--no-defaults", folder, *options]
        self.guarded.run_to_end(command, timeout_seconds=PREPARE_TIMEOUT_SECONDS)

    def start(self) -> None:
        command = [str(self.program.path), *self.options]
        self.guarded.start(command, is_ready=self.answers, timeout_seconds=START_TIMEOUT_SECONDS)

    def answers(self) -> bool:
        try:
            connect(self.url).close()
        except pymysql.OperationalError:
            return False
        return True

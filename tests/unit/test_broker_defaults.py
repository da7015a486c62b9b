"""The broker's safe defaults: what is set, for which brokers, and that the user's own settings always win."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery
from kombu import Queue

import backout
from backout.tasks.broker import (
    RETRY_POLICY,
    Transport,
    apply_broker_defaults,
    broker_defaults,
    has_quorum_queues,
    raise_blocked,
    transport_of,
)
from backout.tasks.runtime import runtime_of
from tests.support.celery_apps import fresh_app

AMQP = "amqp://guest:guest@127.0.0.1//"
REDIS = "redis://127.0.0.1/0"
LEDGER = "sqlite:///never-connected.sqlite3"
OPTIONS = "broker_transport_options"


def app_on(broker: str, **settings: Any) -> Celery:
    return Celery("shop", set_as_current=False, broker=broker, **settings)


@pytest.mark.parametrize(
    ("url", "transport"),
    [
        (AMQP, Transport.AMQP),
        ("amqps://broker.example//", Transport.AMQP),
        ("pyamqp://broker.example//", Transport.AMQP),
        (f"{AMQP};amqp://other.example//", Transport.AMQP),
        (REDIS, Transport.REDIS),
        ("rediss://broker.example/0", Transport.REDIS),
        ("redis+socket:///tmp/socket", Transport.REDIS),
        ("sentinel://broker.example:26379", Transport.REDIS),
        ("memory://", None),
        ("filesystem://", None),
    ],
)
def test_kind_of_broker_is_read_from_the_url(url: str, transport: Transport | None) -> None:
    """Only RabbitMQ and Redis are known; every other broker is left alone."""
    assert transport_of(app_on(url)) is transport


def test_redis_answers_in_time_or_fails() -> None:
    """On Redis every wait of the socket is bounded, and abandoned messages are looked for every ten seconds."""
    settings = broker_defaults({}, Transport.REDIS)
    assert settings["task_publish_retry_policy"] == RETRY_POLICY
    options = settings[OPTIONS]
    assert options["socket_timeout"] == 5
    assert options["socket_connect_timeout"] == 4
    assert options["socket_keepalive"] is True
    assert options["unacked_restore_interval"] * options["unacked_restore_throttle"] == 10
    assert "visibility_timeout" not in options


def test_rabbitmq_confirms_what_it_takes() -> None:
    """On RabbitMQ a message counts as sent when the broker says so, and every wait is bounded."""
    settings = broker_defaults({}, Transport.AMQP)
    assert settings["task_publish_retry_policy"] == RETRY_POLICY
    assert settings[OPTIONS] == {
        "confirm_publish": True,
        "read_timeout": 5,
        "write_timeout": 5,
        "on_blocked": raise_blocked,
    }


def test_unknown_broker_is_left_alone() -> None:
    """What was not measured is not changed."""
    assert broker_defaults({}, None) == {}


@pytest.mark.parametrize("transport", list(Transport))
def test_what_the_user_has_set_is_never_in_the_answer(transport: Transport) -> None:
    """A setting of the user's stays, even where it is Celery's own default, `False` or `None`."""
    given: dict[str, Any] = {
        name: None if name == OPTIONS else False for name in broker_defaults({}, transport) if name != OPTIONS
    }
    options = dict.fromkeys(broker_defaults({}, transport)[OPTIONS])
    assert broker_defaults({**given, OPTIONS: options}, transport) == {}


def test_options_of_the_user_are_completed() -> None:
    """Among the transport options the user's stay, and only the missing ones are added."""
    options = {"socket_timeout": 99, "visibility_timeout": 60}
    settings = broker_defaults({OPTIONS: options}, Transport.REDIS)
    assert settings[OPTIONS].items() >= options.items()
    assert settings[OPTIONS]["socket_keepalive"] is True
    assert options == {"socket_timeout": 99, "visibility_timeout": 60}


def test_install_sets_the_defaults() -> None:
    """An installed app has the defaults before it connects."""
    app = app_on(AMQP)
    backout.install(app, database_url=LEDGER)
    assert app.conf.broker_transport_options["confirm_publish"] is True
    assert app.conf.task_publish_retry_policy == RETRY_POLICY
    assert app.connection_for_write().transport_options["read_timeout"] == 5


def test_app_that_is_configured_by_settings_alone_gets_them_when_it_enqueues() -> None:
    """Without `install` the defaults come with the first use."""
    app = app_on(REDIS, backout_database_url=LEDGER)
    assert app.conf.broker_transport_options == {}
    runtime_of(app)
    assert app.conf.broker_transport_options["socket_timeout"] == 5


def test_worker_of_such_an_app_gets_them_before_it_connects() -> None:
    """A worker of an app that is configured by settings alone has them from its start."""
    app = app_on(REDIS, backout_database_url=LEDGER)
    backout.app._add_to_configured_worker(instance=SimpleNamespace(app=app))
    assert app.conf.broker_transport_options["socket_timeout"] == 5


def test_app_without_backout_is_left_alone() -> None:
    """Importing backout changes nobody else's broker settings."""
    app = app_on(AMQP)
    backout.app._add_to_configured_worker(instance=SimpleNamespace(app=app))
    assert app.conf.broker_transport_options == {}


@pytest.mark.parametrize("namespace", [None, "CELERY"])
def test_settings_of_a_configuration_object_win(namespace: str | None) -> None:
    """What a settings module says stays, with and without a namespace."""
    settings: dict[str, Any] = {
        "broker_transport_options": {"confirm_publish": False},
        "task_publish_retry_policy": {"max_retries": 7},
    }
    if namespace:
        settings = {f"{namespace}_{name.upper()}": value for name, value in settings.items()}
    app = app_on(AMQP)
    app.config_from_object(settings, namespace=namespace)
    backout.install(app, database_url=LEDGER)
    assert app.conf.broker_transport_options["confirm_publish"] is False
    assert app.conf.broker_transport_options["read_timeout"] == 5
    assert app.conf.task_publish_retry_policy == {"max_retries": 7}


def test_second_call_follows_what_the_user_has_changed() -> None:
    """A broker that is named after `install` gets its own defaults, and nothing of the first one's is left."""
    app = app_on(AMQP)
    apply_broker_defaults(app)
    app.conf.broker_url = REDIS
    apply_broker_defaults(app)
    assert "confirm_publish" not in app.conf.broker_transport_options
    assert app.conf.broker_transport_options["socket_timeout"] == 5
    app.conf.broker_url = "memory://"
    apply_broker_defaults(app)
    assert app.conf.broker_transport_options == {}
    assert app.conf.task_publish_retry_policy != RETRY_POLICY


def test_second_call_keeps_the_users_options() -> None:
    """The user's transport options survive any number of calls."""
    own = {"visibility_timeout": 60}
    app = app_on(REDIS, broker_transport_options=own)
    for _ in range(3):
        apply_broker_defaults(app)
    assert app.conf.broker_transport_options["visibility_timeout"] == 60
    app.conf.broker_transport_options = {"socket_timeout": 1}
    apply_broker_defaults(app)
    assert app.conf.broker_transport_options["socket_timeout"] == 1
    assert "visibility_timeout" not in app.conf.broker_transport_options
    assert app.conf.broker_transport_options["socket_keepalive"] is True
    assert own == {"visibility_timeout": 60}


@pytest.mark.parametrize(
    ("broker", "settings", "limit"),
    [
        (AMQP, {}, 30.0),
        (AMQP, {"task_default_queue_type": "quorum"}, 0.0),
        (AMQP, {"task_queues": [Queue("slow", queue_arguments={"x-queue-type": "quorum"})]}, 0.0),
        (REDIS, {"task_default_queue_type": "quorum"}, 30.0),
    ],
)
def test_retries_wait_in_the_ledger_on_quorum_queues(broker: str, settings: dict[str, Any], limit: float) -> None:
    """A countdown would block the consumer of a quorum queue; elsewhere the setting holds."""
    app = app_on(broker, backout_database_url=LEDGER, backout_countdown_limit_seconds=30, **settings)
    assert runtime_of(app).countdown_limit_seconds == limit
    assert has_quorum_queues(app) is (limit == 0)


def test_memory_broker_works_as_before() -> None:
    """An app in memory, as in unit tests, gets no option that its transport does not know."""
    with fresh_app(backout_database_url=LEDGER) as app:
        runtime_of(app)
        assert app.conf.broker_transport_options == {}

"""Safe defaults for Celery's broker connection; whatever the user has set stays as it is.

Celery's own defaults let a send hang for ever on a broker that does not answer, and take a message for sent that the
broker never had. Only Redis (with Valkey and Sentinel) and AMQP are changed: what was not measured is left alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final, NoReturn
from weakref import WeakKeyDictionary

from celery import Celery
from celery.utils.quorum_queues import detect_quorum_queues


class Transport(StrEnum):
    """The kinds of broker for which there are defaults; the value is what kombu's transports call themselves."""

    AMQP = "amqp"
    REDIS = "redis"


_TRANSPORTS: Final = {
    "amqp": Transport.AMQP,
    "amqps": Transport.AMQP,
    "pyamqp": Transport.AMQP,
    "redis": Transport.REDIS,
    "rediss": Transport.REDIS,
    "sentinel": Transport.REDIS,
}
"""By the scheme of the broker's URL. Not librabbitmq, which knows other options."""

RETRY_POLICY: Final[dict[str, Any]] = {
    "max_retries": 1,
    "interval_start": 0,
    "interval_step": 0.2,
    "interval_max": 0.5,
}
"""One more try on a new connection mends a connection that had died unnoticed. Each further one would only add its
timeouts: on a broker that does not answer, sends took 13 s with one and 15 to 20 s with two. With `retry=False` kombu's
own connect retry takes six seconds, where a refused connection is told about within one.
"""
SOCKET_SECONDS: Final = 5.0
CONNECT_SECONDS: Final = 4.0
"""As `broker_connection_timeout`, which Redis does not heed."""


def raise_blocked(reason: str) -> NoReturn:
    """Fail a send at once when RabbitMQ says that it takes no messages: it would not answer until its alarm is over.

    Raises:
        ConnectionError: kombu then drops the connection, and with it the message that still waits in it.
    """
    message = f"RabbitMQ takes no messages at the moment (memory or disk alarm): {reason}"
    raise ConnectionError(message)


_TRANSPORT_OPTIONS: Final[dict[Transport, dict[str, Any]]] = {
    # Not `redis_socket_timeout` and its like: those are the result backend's, kombu reads the transport options only.
    Transport.REDIS: {
        "socket_timeout": SOCKET_SECONDS,
        "socket_connect_timeout": CONNECT_SECONDS,
        "socket_keepalive": True,
        "health_check_interval": 25,
        # A message whose visibility has ended is looked for every ten seconds instead of every hundred.
        "unacked_restore_interval": 5,
        "unacked_restore_throttle": 2,
    },
    Transport.AMQP: {
        # Without it a message is "sent" when the socket has it: also to a broker that is dead, or drops it.
        "confirm_publish": True,
        # For the confirmation only: the timeout of a confirmation alone leaves the close of its channel to hang.
        "read_timeout": SOCKET_SECONDS,
        "write_timeout": SOCKET_SECONDS,
        "on_blocked": raise_blocked,
    },
}
_SETTINGS: Final[dict[str, Any]] = {
    # Celery publishes the links of a rollback chain itself, by this policy.
    "task_publish_retry_policy": RETRY_POLICY,
}
# Not `broker_channel_error_retry`, although a step longer than RabbitMQ's `consumer_timeout` ends its worker: one whose
# queue has other arguments, or whose node name is taken, would connect five times a second for ever instead of ending
# with the reason. Not a shorter `broker_heartbeat`: a solo worker sends none during a step.
OPTIONS_SETTING: Final = "broker_transport_options"


def broker_defaults(given: Mapping[str, Any], transport: Transport | None) -> dict[str, Any]:
    """Return the Celery settings that are to be set, for a broker of this kind.

    Args:
        given: the settings that the user has set; none of them is in the answer, and of the transport options the
            user's come before ours.
        transport: `None` for a broker that is left alone.

    Returns:
        By name. Empty where nothing is to be set.
    """
    if transport is None:
        return {}
    options: Mapping[str, Any] = given.get(OPTIONS_SETTING) or {}
    found = {name: value for name, value in _SETTINGS.items() if name not in given}
    missing = {name: value for name, value in _TRANSPORT_OPTIONS[transport].items() if name not in options}
    return {**found, OPTIONS_SETTING: {**options, **missing}} if missing else found


_applied: Final[WeakKeyDictionary[Celery, dict[str, tuple[Any, bool, Any]]]] = WeakKeyDictionary()
"""What was set on each app: the value before, whether it was the user's, and ours."""


def apply_broker_defaults(app: Celery) -> None:
    """Set the defaults on an app, before it connects. A second call follows what the user has changed meanwhile."""
    _take_back(app)
    given = {name: app.conf[name] for name in _names() if app.conf.value_set_for(name)}
    # Options that somebody added to Celery's own default mapping count as set.
    given.setdefault(OPTIONS_SETTING, dict(app.conf[OPTIONS_SETTING]))
    defaults = broker_defaults(given, transport_of(app))
    _applied[app] = {name: (app.conf[name], app.conf.value_set_for(name), value) for name, value in defaults.items()}
    app.conf.update(defaults)


def _take_back(app: Celery) -> None:
    for name, (before, was_given, ours) in _applied.pop(app, {}).items():
        if app.conf[name] is not ours:
            continue
        app.conf.changes.pop(name, None)
        if was_given and app.conf[name] is not before:
            app.conf[name] = before


def _names() -> set[str]:
    return {OPTIONS_SETTING, *_SETTINGS}


def transport_of(app: Celery) -> Transport | None:
    """Return the kind of broker that an app sends to; `None` for one without defaults. Connects to nothing."""
    scheme = app.connection_for_write().transport_cls
    return _TRANSPORTS.get(scheme) if isinstance(scheme, str) else None


def has_quorum_queues(app: Celery) -> bool:
    """Return whether an app declares quorum queues, by the same test as Celery's.

    A message with a countdown waits in its worker: on a direct exchange it blocks a quorum queue's consumer, whose
    prefetch cannot grow, for the time of its countdown.
    """
    is_amqp = transport_of(app) is Transport.AMQP
    found: bool = detect_quorum_queues(app, Transport.AMQP.value)[0] if is_amqp else False
    return found

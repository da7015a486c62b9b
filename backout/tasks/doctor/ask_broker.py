"""Ask the broker what it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from celery import Celery

from backout.tasks.doctor.facts import BrokerFacts, Failed, RedisFacts
from backout.tasks.doctor.patience import ask_within

REDIS_OPTIONS: Final = ("visibility_timeout", "socket_timeout", "socket_connect_timeout")


def ask_broker(app: Celery, *, timeout_seconds: float) -> BrokerFacts | Failed:
    """Return what the broker of an app says; changes nothing.

    Args:
        app: whose broker is meant.
        timeout_seconds: how long to wait for it.
    """
    connection = app.connection_for_write()
    place = shown_url(connection)
    try:
        return ask_within(timeout_seconds, lambda: _ask(connection, place))
    except Exception as error:
        # Whatever a transport raises: its libraries have no common ancestor, and the finding says what it was.
        return Failed(place=place, said=hide(" ".join(str(error).split()) or type(error).__name__, connection.password))


def shown_url(connection: Any) -> str:
    """Return where a broker is, without its password and without options, which may hold one."""
    url = str(connection.as_uri()).partition("?")[0]
    return url if connection.password else url.replace(":**@", "@").replace("//@", "//")


def hide(text: str, secret: object) -> str:
    """Return a text without a password that somebody has put into it."""
    return text.replace(secret, "***") if isinstance(secret, str) and secret else text


def _ask(connection: Any, place: str) -> BrokerFacts:
    with connection:
        connection.ensure_connection(max_retries=1, interval_start=0.1, reraise_as_library_errors=False)
        kind = str(connection.transport.driver_type)
        options = dict(connection.transport_options or {})
        if kind == "redis":
            return _ask_redis(connection, place, options)
        if kind == "amqp":
            properties = getattr(connection.connection, "server_properties", {})
            return BrokerFacts(
                place=place,
                kind=kind,
                product=str(properties.get("product", "")),
                version=str(properties.get("version", "")),
                options=options,
            )
        return BrokerFacts(place=place, kind=kind, options=options)


def _ask_redis(connection: Any, place: str, options: Mapping[str, Any]) -> BrokerFacts:
    channel = connection.default_channel
    defaults = {name: getattr(channel, name, None) for name in REDIS_OPTIONS}
    facts = _read_information(channel.client)
    is_valkey = "valkey_version" in facts
    return BrokerFacts(
        place=place,
        kind="redis",
        product="Valkey" if is_valkey else "Redis",
        version=str(facts.get("valkey_version" if is_valkey else "redis_version", "")),
        options={**defaults, **options},
        redis=RedisFacts(
            eviction_policy=str(facts.get("maxmemory_policy", "noeviction")),
            memory_limit_bytes=int(facts.get("maxmemory", 0)),
            keeps_messages=_keeps_messages(channel.client, facts),
            is_replica=facts.get("role") == "slave",
        )
        if facts
        else None,
    )


def _read_information(client: Any) -> dict[str, Any]:
    """Return what INFO says; empty where the server does not allow it."""
    try:
        return dict(client.info())
    except Exception:
        return {}


def _keeps_messages(client: Any, facts: Mapping[str, Any]) -> bool | None:
    if facts.get("aof_enabled"):
        return True
    try:
        return bool(client.config_get("save").get("save"))
    except Exception:
        # Managed servers do not allow CONFIG; whether they take snapshots only they can tell.
        return None

"""The broker of a demo: an embedded server, or the user's own, which is left as it was found."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import redis
from celery import Celery
from kombu import Connection
from kombu.exceptions import OperationalError
from kombu.utils.url import maybe_sanitize_url

from backout.cli.demo.stage import Stage
from backout.errors import ConfigurationError
from backout.testing.servers import DEMO_SOURCES, start_broker
from backout.testing.servers.valkey import spell_for_both


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenBroker:
    """A broker that answers.

    Attributes:
        shown: what it is, for people, without a password.
        is_ours: started for this demo.
    """

    url: str
    shown: str
    is_ours: bool


@contextmanager
def open_broker(url: str | None) -> Iterator[OpenBroker]:
    """Give the broker at a URL, or start one that ends with the block.

    Raises:
        ConfigurationError: it does not answer; without a URL: there is no server to start, with what to install.
    """
    if url is None:
        with start_broker(sources=DEMO_SOURCES) as broker:
            yield OpenBroker(url=broker.url, shown=f"{broker.version}, started for this demo", is_ours=True)
        return
    shown = maybe_sanitize_url(url)
    try:
        with Connection(url) as connection:
            connection.ensure_connection(max_retries=1, interval_start=0.1, timeout=5)
    except ImportError as error:
        raise ConfigurationError(
            problem=f"the broker {shown} needs a package that is not installed: {error}",
            remedy="Install it; Celery's extras name what each kind of broker needs, such as celery[sqs]",
        ) from error
    except (OperationalError, OSError, KeyError, ValueError) as error:
        raise ConfigurationError(
            problem=f"the broker {shown} does not answer: {str(error).rstrip('.')}",
            remedy="Start it or correct --broker, or leave it out to have one started",
        ) from error
    yield OpenBroker(url=url, shown=shown, is_ours=False)


def clear_broker(app: Celery, stage: Stage) -> None:
    """Remove from the broker what a demo has left there: its queue, and messages that a killed worker held."""
    # A broker that is away by now has ended the demo already, with an error that says more.
    with contextlib.suppress(OperationalError, OSError, redis.RedisError):
        if stage.has_redis_broker:
            _delete_keys(stage)
        else:
            with app.connection_for_write() as connection:
                connection.default_channel.queue_delete(stage.name)


def _delete_keys(stage: Stage) -> None:
    _, client_url = spell_for_both(stage.broker_url)
    with redis.Redis.from_url(client_url) as client:
        keys = list(client.scan_iter(match=f"{stage.key_prefix}*"))
        if keys:
            client.delete(*keys)

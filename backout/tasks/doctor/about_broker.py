"""Findings about the broker and how this app talks to it. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from backout.pipelines.message import KILL_GRACE_SECONDS
from backout.tasks.doctor.facts import BrokerFacts, Facts, Failed, NotAsked, RedisFacts
from backout.tasks.doctor.findings import Code, Finding, Level, fine
from backout.tasks.doctor.wording import say_names, say_options, say_seconds

TESTED_KINDS: Final = ("redis", "amqp")
REDIS_VISIBILITY_SECONDS: Final = 3600.0
"""Celery's default; docs.celeryq.dev, "Using Redis", Visibility timeout."""
RABBITMQ_CONSUMER_SECONDS: Final = 1800.0
"""RabbitMQ's default `consumer_timeout`; rabbitmq.com/docs/consumers, Delivery Acknowledgement Timeout."""


def check_broker(facts: Facts) -> Iterator[Finding]:
    """Yield what is to be said about it; only that it cannot be asked, where it cannot."""
    match facts.broker:
        case NotAsked(reason=reason):
            yield Finding(code=Code.BROKER_REACHABLE, level=Level.NOTE, found=f"not asked: {reason}")
        case Failed() as failed:
            yield _report_unreachable(failed)
        case BrokerFacts() as broker:
            product = " ".join(part for part in (broker.product, broker.version) if part)
            yield fine(Code.BROKER_REACHABLE, f"{broker.place} answers{f': {product}' if product else ''}")
            yield _judge_kind(broker)
            if broker.kind == "redis":
                yield from _check_redis(facts, broker)
            elif broker.kind == "amqp":
                yield from _check_amqp(facts, broker)


def _report_unreachable(failed: Failed) -> Finding:
    place = f"the broker {failed.place}" if failed.place else "the broker"
    return Finding(
        code=Code.BROKER_REACHABLE,
        level=Level.PROBLEM,
        found=f"{place} does not answer: {failed.said}",
        why="Steps that are due are recorded and wait; the sweeper sends them when it is back",
        remedy=failed.remedy or "Check that it runs, and that `broker_url` names it",
    )


def _judge_kind(broker: BrokerFacts) -> Finding:
    if broker.kind in TESTED_KINDS:
        return fine(Code.BROKER_KIND, "the tests cover this kind of broker")
    if broker.kind == "memory":
        return Finding(
            code=Code.BROKER_KIND,
            level=Level.PROBLEM,
            found="the broker is the memory of one process",
            why="Nothing that another process sends arrives: a worker never sees a message",
            remedy="Use Redis, Valkey or RabbitMQ",
            to_copy='app.conf.broker_url = "redis://localhost:6379/0"',
        )
    return Finding(
        code=Code.BROKER_KIND,
        level=Level.WARNING,
        found=f"no test has run on a broker that speaks {broker.kind}",
        why="The ledger keeps its promises on any broker; how soon lost messages are found and sent again may differ",
        remedy="Use Redis, Valkey or RabbitMQ where you can",
    )


def _check_redis(facts: Facts, broker: BrokerFacts) -> Iterator[Finding]:
    yield from _judge_visibility(facts, broker)
    if broker.redis is not None:
        yield from _judge_replica(broker.redis)
        yield _judge_eviction(broker.redis)
        yield from _judge_persistence(facts, broker.redis)
    yield _judge_socket_timeouts(broker)


def _judge_visibility(facts: Facts, broker: BrokerFacts) -> Iterator[Finding]:
    if not facts.longest_unacknowledged_seconds:
        return
    settings = facts.used_settings
    wait_seconds = settings.countdown_limit_seconds if settings else 0.0
    needed = facts.longest_unacknowledged_seconds + KILL_GRACE_SECONDS + wait_seconds
    given = {"this app": _visibility(broker.options)}
    given |= {
        worker.name: _visibility(worker.conf.get("broker_transport_options"))
        for worker in facts.known_workers
        if worker.conf
    }
    shortest = min(given.values())
    longest = say_seconds(facts.longest_unacknowledged_seconds)
    if shortest >= needed:
        yield fine(
            Code.VISIBILITY_TIMEOUT,
            f"a message may stay unacknowledged for {say_seconds(shortest)}, a step takes {longest} at most",
        )
        return
    whose = say_names(name for name, seconds in given.items() if seconds < needed)
    yield Finding(
        code=Code.VISIBILITY_TIMEOUT,
        level=Level.WARNING,
        found=f"Redis delivers a message again after {say_seconds(shortest)} (in {whose}), a step may take {longest}",
        why=(
            "The copy is recognised and dropped, so nothing runs twice; but it costs deliveries, and a message that "
            "is dropped so is no longer there when the first worker dies. The shortest value among all apps on this "
            "Redis database counts"
        ),
        remedy="Let every app on this broker wait longer than the longest step",
        to_copy=say_options({"visibility_timeout": round(needed)}),
    )


def _visibility(options: Any) -> float:
    value = options.get("visibility_timeout") if isinstance(options, dict) else None
    return float(value) if isinstance(value, int | float) else REDIS_VISIBILITY_SECONDS


def _judge_replica(redis: RedisFacts) -> Iterator[Finding]:
    if redis.is_replica:
        yield Finding(
            code=Code.REDIS_REPLICA,
            level=Level.PROBLEM,
            found="this server is a replica",
            why="It takes no writes, so no message can be sent",
            remedy="Let `broker_url` name the primary, or use Celery's Sentinel transport",
        )


def _judge_eviction(redis: RedisFacts) -> Finding:
    policy = redis.eviction_policy
    # `volatile-…` touches only keys that expire, and Celery's queues do not.
    if not policy.startswith("allkeys"):
        return fine(Code.REDIS_EVICTION, f"no message is evicted when memory runs out ({policy})")
    is_limited = redis.memory_limit_bytes > 0
    return Finding(
        code=Code.REDIS_EVICTION,
        level=Level.PROBLEM if is_limited else Level.WARNING,
        found=(
            f"messages are evicted without a word when Redis reaches its memory limit ({policy})"
            if is_limited
            else f"messages would be evicted without a word if Redis had a memory limit ({policy})"
        ),
        why="An evicted queue loses all its messages at once; the sweeper sends them again, but only bit by bit",
        remedy="Give messages a Redis of their own, without eviction",
        to_copy="redis-cli CONFIG SET maxmemory-policy noeviction",
    )


def _judge_persistence(facts: Facts, redis: RedisFacts) -> Iterator[Finding]:
    if redis.keeps_messages is None:
        return
    if redis.keeps_messages:
        yield fine(Code.REDIS_PERSISTENCE, "messages are written to disk")
        return
    settings = facts.used_settings
    after = f" after {say_seconds(settings.resend_seconds)}" if settings else ""
    yield Finding(
        code=Code.REDIS_PERSISTENCE,
        level=Level.NOTE,
        found="a restart of Redis loses its messages: it writes nothing to disk",
        why=f"Nothing is lost for good: the sweeper sends them again{after}",
        remedy="To have them back at once, let Redis keep a log",
        to_copy="redis-cli CONFIG SET appendonly yes",
    )


def _judge_socket_timeouts(broker: BrokerFacts) -> Finding:
    missing = [name for name in ("socket_timeout", "socket_connect_timeout") if not broker.options.get(name)]
    if not missing:
        return fine(Code.REDIS_SOCKET_TIMEOUTS, "a connection that hangs is given up in time")
    return Finding(
        code=Code.REDIS_SOCKET_TIMEOUTS,
        level=Level.WARNING,
        found=f"a connection that hangs is never given up: {say_names(missing)} not set",
        why="Whoever enqueues while a network swallows packets hangs until the network gives up; more than 45 s were "
        "seen",
        remedy="Set both; 30 s leaves slow answers alone",
        to_copy=say_options(dict.fromkeys(missing, 30)),
    )


def _check_amqp(facts: Facts, broker: BrokerFacts) -> Iterator[Finding]:
    yield _judge_confirms(broker)
    yield from _judge_consumer_timeout(facts)
    yield from _judge_queues(facts)


def _judge_confirms(broker: BrokerFacts) -> Finding:
    if broker.options.get("confirm_publish"):
        return fine(Code.AMQP_CONFIRMS, "RabbitMQ confirms each message")
    return Finding(
        code=Code.AMQP_CONFIRMS,
        level=Level.WARNING,
        found="RabbitMQ does not confirm messages",
        why="A message that it does not take (memory alarm, broken connection) is lost in silence, and its step waits "
        "for the sweeper",
        remedy="Ask for confirmations",
        to_copy=say_options({"confirm_publish": True}),
    )


def _judge_consumer_timeout(facts: Facts) -> Iterator[Finding]:
    longest = facts.longest_unacknowledged_seconds
    if not longest:
        return
    settings = facts.used_settings
    needed = longest + KILL_GRACE_SECONDS + (settings.countdown_limit_seconds if settings else 0.0)
    limits = [_consumer_seconds(facts, name) for name in {task.queue for task in facts.known_tasks}]
    shortest = min(limits, default=RABBITMQ_CONSUMER_SECONDS)
    if needed <= shortest:
        yield fine(
            Code.AMQP_CONSUMER_TIMEOUT,
            f"a step takes {say_seconds(longest)} at most; RabbitMQ waits {say_seconds(shortest)} for its "
            "acknowledgement, unless its administrator has set less",
        )
        return
    yield Finding(
        code=Code.AMQP_CONSUMER_TIMEOUT,
        level=Level.WARNING,
        found=f"a step may take {say_seconds(longest)}; RabbitMQ waits {say_seconds(shortest)} for its "
        "acknowledgement, unless its administrator has set more",
        why="It then closes the worker's channel and delivers the message again; without `broker_channel_error_retry` "
        "Celery ends the worker with all that it was doing",
        remedy="Raise `consumer_timeout` (milliseconds) in rabbitmq.conf, or declare such steps with `ack_early=True`",
        to_copy=f"consumer_timeout = {round(needed * 1000)}",
    )


def _consumer_seconds(facts: Facts, queue: str | None) -> float:
    declared = [
        found.arguments.get("x-consumer-timeout")
        for worker in facts.known_workers
        for found in worker.queues or ()
        if found.name == queue
    ]
    given = [float(milliseconds) / 1000 for milliseconds in declared if isinstance(milliseconds, int | float)]
    return min(given, default=RABBITMQ_CONSUMER_SECONDS)


def _judge_queues(facts: Facts) -> Iterator[Finding]:
    used = {task.queue for task in facts.known_tasks}
    kinds = {
        found.name: str(found.arguments.get("x-queue-type", "classic"))
        for worker in facts.known_workers
        for found in worker.queues or ()
        if found.name in used
    }
    if not kinds:
        return
    classic = [name for name, kind in kinds.items() if kind == "classic"]
    if not classic:
        yield fine(Code.AMQP_QUEUES, f"the queues of steps are replicated ({say_names(kinds)})")
        return
    yield Finding(
        code=Code.AMQP_QUEUES,
        level=Level.NOTE,
        found=f"classic queues are not replicated: {say_names(classic)}",
        why="Only a cluster needs more: when the node of such a queue is lost, the sweeper sends its messages again",
        remedy="In a cluster, use quorum queues; an existing queue must be deleted first",
        to_copy='app.conf.task_default_queue_type = "quorum"',
    )

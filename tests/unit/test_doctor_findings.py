"""What the doctor makes of facts: each check on both sides, and what it says when nobody could be asked."""

from __future__ import annotations

from dataclasses import replace

import pytest

from backout.ledger.durability import DurabilitySetting
from backout.ledger.health import UntakenStep
from backout.tasks.doctor.about_ledger import count_connections
from backout.tasks.doctor.clocks import difference
from backout.tasks.doctor.diagnosis import diagnose
from backout.tasks.doctor.facts import AppFacts, Facts, Failed, NotAsked, QueueFacts, TaskFacts, Workers
from backout.tasks.doctor.findings import Area, Code, Finding, Level
from tests.support.installations import (
    ANSWER,
    CHARGE,
    HEALTHY,
    OPTIONS,
    RABBITMQ,
    VERSIONS,
    WORKER,
    as_workers,
    with_answer,
    with_broker,
    with_conf,
    with_database,
    with_health,
    with_ledger,
    with_options,
    with_redis,
    with_settings,
    with_task,
    with_worker,
)

NOTE, WARNING, PROBLEM = Level.NOTE, Level.WARNING, Level.PROBLEM
FOREIGN = replace(WORKER, name="celery@mail", backout=None, tasks={"mail.send": {}}, conf={})
SECOND = replace(WORKER, name="celery@web-2")
UNSAFE = (DurabilitySetting(name="fsync", value="off", is_safe=False, remedy="ALTER SYSTEM SET fsync = on;"),)
GONE = TaskFacts(
    name="shop.old", needed_by="order.old", queue="celery", timeout_seconds=60, is_defined_here=False
)  # of runs that an older release has started
NO_SWEEPER = replace(ANSWER, sweeper_is_alive=None)

ILL: list[tuple[str, Facts, Code, Level, str]] = [
    ("bad setting", replace(HEALTHY, settings=Failed(said="`backout_x`: unknown")), Code.SETTINGS, PROBLEM, "unknown"),
    ("no app", replace(HEALTHY, settings=NotAsked(reason="no app")), Code.SETTINGS, NOTE, "no app"),
    ("hasty resend", with_settings(resend_seconds=2), Code.RESEND_SECONDS, WARNING, "after 2 s"),
    ("eager", replace(HEALTHY, app=AppFacts(name="p", is_eager=True)), Code.ALWAYS_EAGER, PROBLEM, "this app"),
    ("eager worker", with_conf(task_always_eager=True), Code.ALWAYS_EAGER, PROBLEM, "celery@web-1"),
    ("new Celery", replace(HEALTHY, versions={"celery": "5.8.1"}), Code.VERSIONS, WARNING, "celery 5.8.1"),
    ("old Redis", replace(HEALTHY, versions={"redis": "5.0.0"}), Code.VERSIONS, WARNING, "redis 5.0.0"),
    # ledger
    ("database away", replace(HEALTHY, ledger=Failed(place="x", said="refused")), Code.LEDGER_REACHABLE, PROBLEM, "re"),
    ("no ledger", replace(HEALTHY, ledger=NotAsked(reason="unnamed")), Code.LEDGER_REACHABLE, NOTE, "unnamed"),
    ("no tables", with_ledger(revision=None, health=None), Code.LEDGER_SCHEMA, PROBLEM, "no backout tables"),
    ("old tables", with_ledger(revision="0000", health=None), Code.LEDGER_SCHEMA, PROBLEM, "revision 0000"),
    ("other tables", with_ledger(differences=("an index",)), Code.LEDGER_TABLES, PROBLEM, "1 place"),
    ("fast clock", with_ledger(clock_seconds=90), Code.LEDGER_CLOCK, WARNING, "90 s before"),
    ("slow clock", with_ledger(clock_seconds=-600), Code.LEDGER_CLOCK, WARNING, "10 min behind"),
    ("no fsync", with_database(durability=UNSAFE), Code.LEDGER_DURABILITY, WARNING, "fsync = off"),
    ("few connections", with_database(most_connections=12), Code.LEDGER_CONNECTIONS, WARNING, "need 10"),
    (
        "file on two machines",
        replace(with_database(name="sqlite", most_connections=None), host="laptop"),
        Code.LEDGER_FILE,
        WARNING,
        "laptop and web-1",
    ),
    # broker
    ("broker away", replace(HEALTHY, broker=Failed(place="x", said="no")), Code.BROKER_REACHABLE, PROBLEM, "x"),
    ("no broker", replace(HEALTHY, broker=NotAsked(reason="no app")), Code.BROKER_REACHABLE, NOTE, "no app"),
    ("memory", with_broker(kind="memory"), Code.BROKER_KIND, PROBLEM, "memory"),
    ("SQS", with_broker(kind="sqs"), Code.BROKER_KIND, WARNING, "sqs"),
    (
        "hasty broker",
        with_broker(options={"visibility_timeout": 60, "socket_timeout": 1, "socket_connect_timeout": 1}),
        Code.VISIBILITY_TIMEOUT,
        WARNING,
        "60 s (in this app)",
    ),
    (
        "hasty broker of a worker",
        with_conf(broker_transport_options={"visibility_timeout": 60}),
        Code.VISIBILITY_TIMEOUT,
        WARNING,
        "60 s (in celery@web-1)",
    ),
    (
        "evicting",
        with_redis(eviction_policy="allkeys-lru", memory_limit_bytes=1),
        Code.REDIS_EVICTION,
        PROBLEM,
        "allkeys-lru",
    ),
    ("evicting without a limit", with_redis(eviction_policy="allkeys-lru"), Code.REDIS_EVICTION, WARNING, "would be"),
    ("forgetful", with_redis(keeps_messages=False), Code.REDIS_PERSISTENCE, NOTE, "writes nothing to disk"),
    ("replica", with_redis(is_replica=True), Code.REDIS_REPLICA, PROBLEM, "replica"),
    (
        "no time limit",
        with_broker(options={"socket_timeout": 30, "socket_connect_timeout": None}),
        Code.REDIS_SOCKET_TIMEOUTS,
        WARNING,
        "socket_connect_timeout not set",
    ),
    ("no confirms", with_broker(RABBITMQ, options={}), Code.AMQP_CONFIRMS, WARNING, "does not confirm"),
    (
        "long step on RabbitMQ",
        replace(with_broker(RABBITMQ), tasks=(replace(CHARGE, timeout_seconds=3000),)),
        Code.AMQP_CONSUMER_TIMEOUT,
        WARNING,
        "50 min",
    ),
    ("classic queue", with_broker(RABBITMQ), Code.AMQP_QUEUES, NOTE, "celery"),
    # workers
    ("no worker", replace(HEALTHY, workers=as_workers()), Code.WORKERS_ANSWER, PROBLEM, "within 2 s"),
    (
        "no worker over SQS",
        replace(with_broker(kind="sqs"), workers=as_workers()),
        Code.WORKERS_ANSWER,
        NOTE,
        "cannot be asked",
    ),
    ("workers left out", replace(HEALTHY, workers=NotAsked(reason="--no-workers")), Code.WORKERS_ANSWER, NOTE, "--no"),
    ("brief worker", with_worker(tasks=None), Code.WORKERS_ANSWER, WARNING, "only some of the questions"),
    ("question lost", replace(HEALTHY, workers=Failed(said="gone")), Code.WORKERS_ANSWER, PROBLEM, "gone"),
    (
        "two of one name",
        replace(HEALTHY, workers=Workers(found=(WORKER,), names=(WORKER.name,) * 2, waited_seconds=2)),
        Code.WORKER_NAMES,
        WARNING,
        "celery@web-1",
    ),
    (
        "foreign worker on our queue",
        replace(HEALTHY, workers=as_workers(WORKER, FOREIGN)),
        Code.WORKER_BACKOUT,
        PROBLEM,
        "celery@mail takes",
    ),
    (
        "settings without install",
        replace(HEALTHY, workers=as_workers(WORKER, replace(FOREIGN, conf={"backout_database_url": "***"}))),
        Code.WORKER_BACKOUT,
        PROBLEM,
        "without backout",
    ),
    (
        "foreign worker elsewhere",
        replace(HEALTHY, workers=as_workers(WORKER, replace(FOREIGN, queues=(QueueFacts(name="mail"),)))),
        Code.WORKER_BACKOUT,
        NOTE,
        "celery@mail",
    ),
    ("other ledger", with_answer(fingerprint="f" * 12), Code.WORKER_LEDGER, WARNING, "celery@web-1 names"),
    ("worker's clock", with_answer(clock_seconds=-30), Code.WORKER_CLOCK, WARNING, "web-1 30 s behind"),
    ("worker's Celery", with_answer(versions={"celery": "5.6.9"}), Code.WORKER_VERSIONS, WARNING, "5.6.9"),
    ("worker's backout", with_answer(versions={"backout": "0.0.9"}), Code.WORKER_VERSIONS, NOTE, "celery@web-1 has"),
    ("threads", with_worker(pool="threads"), Code.WORKER_POOL, WARNING, "threads"),
    ("gevent", with_worker(pool="gevent"), Code.WORKER_POOL, NOTE, "no test"),
    ("crowded", with_worker(pool="solo", concurrency=100), Code.WORKER_POOL, NOTE, "10 ledger connections"),
    ("a process each", with_worker(max_tasks_per_child=1), Code.WORKER_RECYCLING, WARNING, "a new process"),
    ("greedy", with_conf(worker_prefetch_multiplier=4), Code.WORKER_PREFETCH, NOTE, "takes more"),
    (
        "cancelling",
        with_conf(worker_cancel_long_running_tasks_on_connection_loss=True),
        Code.CONNECTION_LOSS,
        WARNING,
        "ends running steps",
    ),
    ("Celery 5.7 on Redis", HEALTHY, Code.CONNECTION_LOSS, NOTE, "Celery 5.7"),
    # pipelines
    ("import fails", replace(HEALTHY, tasks=Failed(said="no module")), Code.DEFINITIONS, PROBLEM, "no module"),
    ("not imported", replace(HEALTHY, tasks=NotAsked(reason="no app")), Code.DEFINITIONS, NOTE, "no app"),
    ("no pipelines", replace(HEALTHY, tasks=()), Code.DEFINITIONS, WARNING, "no pipeline"),
    ("unknown task", with_task(name="shop.new"), Code.TASKS_KNOWN, PROBLEM, "shop.new (of order.charge)"),
    ("removed task", replace(HEALTHY, tasks=(CHARGE, GONE)), Code.TASKS_KNOWN, PROBLEM, "runs under way need shop.old"),
    (
        "old worker",
        replace(HEALTHY, workers=as_workers(WORKER, replace(SECOND, tasks={"shop.charge": OPTIONS}))),
        Code.TASKS_KNOWN,
        WARNING,
        "celery@web-2 does not know shop.refund",
    ),
    ("nobody's queue", with_task(queue="sagas"), Code.QUEUES_CONSUMED, PROBLEM, "sagas (for shop.charge)"),
    ("annotated", with_options(acks_late="False"), Code.TASK_OPTIONS, PROBLEM, "shop.charge acks_late = False"),
    ("soft limit", with_worker(soft_limit_seconds=300), Code.TIME_LIMITS, WARNING, "shop.charge (5 min)"),
    ("soft limit of a task", with_options(soft_time_limit="30"), Code.TIME_LIMITS, WARNING, "shop.charge (30 s)"),
    # runs
    ("dead sweeper", with_answer(sweeper_is_alive=False), Code.SWEEPER, PROBLEM, "and there is no other"),
    (
        "one dead sweeper",
        replace(
            HEALTHY,
            workers=as_workers(WORKER, replace(SECOND, backout=replace(ANSWER, sweeper_is_alive=False))),
        ),
        Code.SWEEPER,
        WARNING,
        "celery@web-2 does not run; others do",
    ),
    ("unsteady sweeper", with_answer(sweeper_restarts=3), Code.SWEEPER, WARNING, "started again"),
    ("no sweeper by choice", with_answer(sweeper_is_alive=None), Code.SWEEPER, NOTE, "no worker keeps a sweeper"),
    (
        "no service either",
        replace(with_health(overdue_rows=4), workers=as_workers(replace(WORKER, backout=NO_SWEEPER))),
        Code.SWEEPER,
        PROBLEM,
        "no service sweeps: 4 rows",
    ),
    ("no worker to sweep", replace(with_health(overdue_rows=1), workers=as_workers()), Code.SWEEPER, PROBLEM, "1 row"),
    ("unknown sweeper", replace(HEALTHY, workers=NotAsked(reason="x")), Code.SWEEPER, NOTE, "could be asked"),
    ("overdue", with_health(overdue_rows=3, overdue_seconds=7200), Code.OVERDUE, PROBLEM, "3 rows"),
    (
        "untaken",
        with_health(untaken=(UntakenStep(pipeline="order", step="charge", rows=1, sends=6),)),
        Code.UNTAKEN,
        WARNING,
        "order.charge (6 times)",
    ),
    ("silent", with_health(silent_runs=1, silent_examples=("01a2",)), Code.SILENT_RUNS, PROBLEM, "01a2"),
    ("review", with_health(reviews=1, review_seconds=90_000), Code.REVIEWS, NOTE, "25 h ago"),
    ("late review", with_health(reviews=2, late_reviews=1), Code.REVIEWS, WARNING, "1 past the deadline"),
    # monitoring
    ("no events", with_answer(sends_events=False), Code.WORKER_EVENTS, NOTE, "celery@web-1 sends no events"),
    ("no sent events", replace(HEALTHY, app=AppFacts(name="p")), Code.SENT_EVENTS, NOTE, "no event"),
    ("sent events and forks", with_worker(max_tasks_per_child=100), Code.SENT_EVENTS, NOTE, "starts processes"),
]


def find(facts: Facts, code: Code) -> list[Finding]:
    return [finding for finding in diagnose(facts) if finding.code is code]


@pytest.mark.parametrize(("facts", "code", "level", "said"), [case[1:] for case in ILL], ids=[case[0] for case in ILL])
def test_what_is_wrong_is_found_once_with_its_level(facts: Facts, code: Code, level: Level, said: str) -> None:
    """Each trouble is one finding, which says what was found."""
    (finding,) = find(facts, code)
    assert finding.level is level
    assert said in finding.found


@pytest.mark.parametrize("facts", [case[1] for case in ILL], ids=[case[0] for case in ILL])
def test_what_can_be_mended_says_why_and_how(facts: Facts) -> None:
    """A warning or a problem explains itself and names a remedy; texts fit into a sentence."""
    for finding in diagnose(facts):
        assert not finding.found.endswith(".")
        if finding.level in (WARNING, PROBLEM) and finding.code is not Code.SETTINGS:
            assert finding.why
        if finding.level in (WARNING, PROBLEM) and finding.code not in (Code.SETTINGS, Code.DEFINITIONS):
            assert finding.remedy


def test_a_healthy_installation_has_nothing_to_mend() -> None:
    """Where all is well there are only notes, and every check that can pass has passed."""
    findings = diagnose(HEALTHY)
    assert {finding.level for finding in findings} == {Level.OK, NOTE}
    assert [finding.code for finding in findings if finding.level is NOTE] == [Code.CONNECTION_LOSS]


def test_every_check_is_tried_on_both_sides() -> None:
    """Each code has a case above where it is no good, and a facts where it is not raised."""
    assert {case[2] for case in ILL} == set(Code)
    fine = {finding.code for finding in diagnose(HEALTHY) if finding.level is Level.OK}
    only_when_wrong = {
        Code.LEDGER_FILE, Code.REDIS_REPLICA, Code.WORKER_NAMES, Code.WORKER_RECYCLING, Code.UNTAKEN,
    }  # fmt: skip
    of_rabbitmq = {Code.AMQP_CONFIRMS, Code.AMQP_CONSUMER_TIMEOUT, Code.AMQP_QUEUES}
    assert set(Code) - fine == only_when_wrong | of_rabbitmq | {Code.CONNECTION_LOSS}


def test_a_healthy_rabbitmq_passes() -> None:
    """Its checks take the place of those of Redis."""
    quorum = replace(WORKER, queues=(QueueFacts(name="celery", arguments={"x-queue-type": "quorum"}),))
    findings = diagnose(replace(with_broker(RABBITMQ), workers=as_workers(quorum)))
    assert {finding.level for finding in findings} == {Level.OK}
    assert not [finding for finding in findings if finding.code.startswith("redis")]


def test_a_raised_consumer_timeout_is_seen_in_the_queue() -> None:
    """A queue that gives its consumers an hour allows steps of fifty minutes."""
    patient = replace(WORKER, queues=(QueueFacts(name="celery", arguments={"x-consumer-timeout": 3_600_000}),))
    facts = replace(with_broker(RABBITMQ), tasks=(replace(CHARGE, timeout_seconds=3000),), workers=as_workers(patient))
    (finding,) = find(facts, Code.AMQP_CONSUMER_TIMEOUT)
    assert finding.level is Level.OK


def test_early_acknowledged_steps_do_not_count_for_the_broker() -> None:
    """A message that is acknowledged at once may be followed by a step of any length."""
    long = replace(CHARGE, timeout_seconds=86_400, is_acked_late=False)
    early = {"acks_late": "False", "reject_on_worker_lost": "False"}
    facts = replace(with_options(**early), tasks=(long, HEALTHY.known_tasks[1]))
    assert find(facts, Code.VISIBILITY_TIMEOUT)[0].level is Level.OK
    assert find(facts, Code.TASK_OPTIONS)[0].level is Level.OK


def test_hard_time_limits_are_no_finding() -> None:
    """The message of a step carries its own hard limit, which comes before the worker's."""
    assert find(with_conf(task_time_limit=1), Code.TIME_LIMITS)[0].level is Level.OK


def test_findings_come_by_area_in_a_fixed_order() -> None:
    """People and programs find a check at the same place each time."""
    areas = [finding.area for finding in diagnose(HEALTHY)]
    assert list(dict.fromkeys(areas)) == list(Area)
    assert areas == sorted(areas, key=list(Area).index)


def test_commands_name_the_app_that_was_looked_at() -> None:
    """A remedy can be pasted as it is; without an app the command is the bare one."""
    broken = with_ledger(revision=None, health=None)
    named = replace(broken, app=AppFacts(name="shop.celery:app"))
    unnamed = replace(broken, app=NotAsked(reason="no app"))
    assert find(named, Code.LEDGER_SCHEMA)[0].to_copy == "celery -A shop.celery:app backout ledger upgrade"
    assert find(unnamed, Code.LEDGER_SCHEMA)[0].to_copy == "backout ledger upgrade"


def test_no_secret_is_in_any_finding() -> None:
    """The settings hold the ledger's URL with its password; no finding does."""
    assert "secret" in str(HEALTHY.used_settings and HEALTHY.used_settings.database_url)
    for facts in [HEALTHY, *(case[1] for case in ILL)]:
        assert "secret" not in str(diagnose(facts))


@pytest.mark.parametrize(("pool", "connections"), [("prefork", 10), ("threads", 9), ("solo", 9)])
def test_connections_follow_from_the_pool(pool: str, connections: int) -> None:
    """A process has its own connections; the threads of one process share a pool of ten; a sweeper has one."""
    assert count_connections(replace(WORKER, pool=pool)) == connections
    assert count_connections(replace(WORKER, pool="threads", concurrency=100)) == 11


@pytest.mark.parametrize(("there", "expected"), [(95.0, -5.0), (100.0, 0.0), (101.0, 0.0), (102.0, 0.0), (107.0, 5.0)])
def test_a_clock_differs_only_by_what_the_way_cannot_explain(there: float, expected: float) -> None:
    """A time between question and answer is no difference."""
    assert difference(there, asked_at=100.0, answered_at=102.0) == expected


def test_versions_before_and_after_the_range_are_told() -> None:
    """The lowest tested version is in, the first one beyond is not, nor is its release candidate."""
    for version, level in [("5.7.0", Level.OK), ("5.7.9", Level.OK), ("5.8.0rc1", WARNING), ("5.6.99", WARNING)]:
        assert find(replace(HEALTHY, versions={**VERSIONS, "celery": version}), Code.VERSIONS)[0].level is level

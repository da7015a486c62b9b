"""Findings about the workers that answered, and about those that did not. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Final

from backout.tasks.doctor.about_ledger import MOST_CLOCK_SECONDS, POOLED_CONNECTIONS, say_difference
from backout.tasks.doctor.about_settings import judge_versions
from backout.tasks.doctor.facts import BrokerFacts, Facts, Failed, LedgerFacts, NotAsked, WorkerFacts, Workers
from backout.tasks.doctor.findings import Code, Finding, Level, fine
from backout.tasks.doctor.wording import say_count, say_deed, say_names, say_seconds

BROKERS_WITHOUT_ANSWERS: Final = ("sqs", "filesystem")
"""Celery's remote control does not work over them."""


def check_workers(facts: Facts) -> Iterator[Finding]:
    """Yield what is to be said about them; only that they cannot be asked, where they cannot."""
    match facts.workers:
        case NotAsked(reason=reason):
            yield Finding(code=Code.WORKERS_ANSWER, level=Level.NOTE, found=f"not asked: {reason}")
        case Failed(said=said):
            yield Finding(
                code=Code.WORKERS_ANSWER,
                level=Level.PROBLEM,
                found=f"the workers cannot be asked: {said}",
                why="What they would say is not checked",
                remedy="Ask again when the broker answers",
            )
        case Workers() as workers:
            yield _judge_answers(facts, workers)
            if workers.found:
                yield from _check_found(facts, workers)


def _judge_answers(facts: Facts, workers: Workers) -> Finding:
    brief = [worker.name for worker in workers.found if worker.tasks is None or worker.queues is None]
    if brief:
        return Finding(
            code=Code.WORKERS_ANSWER,
            level=Level.WARNING,
            found=f"{say_deed(brief, 'has', 'have')} answered only some of the questions in time",
            why="What it did not say is not checked",
            remedy="Give it more time",
            to_copy=f"celery -A proj backout doctor --timeout {workers.waited_seconds * 4:g}",
        )
    if workers.found:
        return fine(
            Code.WORKERS_ANSWER,
            f"{say_count(len(workers.found), 'worker')}: {say_names(map(_describe, workers.found))}",
        )
    if isinstance(facts.broker, BrokerFacts) and facts.broker.kind in BROKERS_WITHOUT_ANSWERS:
        return Finding(
            code=Code.WORKERS_ANSWER,
            level=Level.NOTE,
            found=f"workers cannot be asked over a broker that speaks {facts.broker.kind}",
        )
    return Finding(
        code=Code.WORKERS_ANSWER,
        level=Level.PROBLEM,
        found=f"no worker answered within {say_seconds(workers.waited_seconds)}",
        why="Nothing that is enqueued will start. (A worker on the solo pool answers only between tasks, and one with "
        "`worker_enable_remote_control` off never does: give it more time with --timeout, or leave workers out with "
        "--no-workers.)",
        remedy="Start a worker",
        to_copy="celery -A proj worker",
    )


def _describe(worker: WorkerFacts) -> str:
    return f"{worker.name} ({worker.pool}, {worker.concurrency})"


def _check_found(facts: Facts, workers: Workers) -> Iterator[Finding]:
    yield from _judge_names(workers)
    yield from _judge_backout(facts, workers)
    ours = workers.with_backout
    if not ours:
        return
    yield from _judge_ledgers(facts, ours)
    yield _judge_clocks(ours)
    yield from _judge_worker_versions(facts, ours)
    yield _judge_pools(ours)
    yield from _judge_recycling(ours)
    yield from _judge_prefetch(facts, ours)
    yield _judge_connection_loss(facts, ours)


def _judge_names(workers: Workers) -> Iterator[Finding]:
    twice = [name for name, count in Counter(workers.names).items() if count > 1]
    if twice:
        yield Finding(
            code=Code.WORKER_NAMES,
            level=Level.WARNING,
            found=f"several workers have one name: {say_names(twice)}",
            why="Celery's remote control and Flower take them for one; some of the checks below saw only one of them",
            remedy="Give each a name of its own",
            to_copy=f"celery -A proj worker --hostname {twice[0].partition('@')[0]}-2@%h",
        )


def _judge_backout(facts: Facts, workers: Workers) -> Iterator[Finding]:
    queues = {task.queue for task in facts.known_tasks}
    others = [worker for worker in workers.found if worker.backout is None]
    takers = [worker.name for worker in others if queues & {queue.name for queue in worker.queues or ()}]
    if takers:
        configured = [w.name for w in others if w.name in takers and "backout_database_url" in w.conf]
        yield Finding(
            code=Code.WORKER_BACKOUT,
            level=Level.PROBLEM,
            found=f"{say_deed(takers, 'takes', 'take')} messages from the queues of steps, without backout",
            why="It throws away the messages of tasks that it does not know; each waits for the sweeper, and may meet "
            "the same worker again",
            remedy=(
                f"Install backout where the app of {say_names(configured)} is made: it has the settings only"
                if configured
                else "Start it with the app that has backout installed, or give steps a queue that it does not take"
            ),
            to_copy='@step(queue="sagas", …)' if not configured else "backout.install(app)",
        )
    elif others:
        yield Finding(
            code=Code.WORKER_BACKOUT,
            level=Level.NOTE,
            found=f"without backout, and away from the queues of steps: {say_names(w.name for w in others)}",
        )
    else:
        yield fine(Code.WORKER_BACKOUT, "backout is installed in every one of them")


def _judge_ledgers(facts: Facts, ours: tuple[WorkerFacts, ...]) -> Iterator[Finding]:
    if not isinstance(facts.ledger, LedgerFacts):
        return
    other = [w.name for w in ours if w.backout is not None and w.backout.fingerprint != facts.ledger.fingerprint]
    if not other:
        yield fine(Code.WORKER_LEDGER, "they use this ledger")
        return
    yield Finding(
        code=Code.WORKER_LEDGER,
        level=Level.WARNING,
        found=f"{say_deed(other, 'names', 'name')} another database as the ledger",
        why="A worker with another ledger knows none of these runs and drops their messages. (Two names of one server, "
        "such as localhost and its host name, are no harm.)",
        remedy="Give all workers the same `backout_database_url`, and pass the one that they use to --database",
    )


def _judge_clocks(ours: tuple[WorkerFacts, ...]) -> Finding:
    wrong = {
        w.backout.host: w.backout.clock_seconds
        for w in ours
        if w.backout is not None and abs(w.backout.clock_seconds) > MOST_CLOCK_SECONDS
    }
    if not wrong:
        return fine(Code.WORKER_CLOCK, "their clocks and this machine's agree")
    return Finding(
        code=Code.WORKER_CLOCK,
        level=Level.WARNING,
        found=f"clocks differ from this machine's: {say_names(f'{h} {say_difference(s)}' for h, s in wrong.items())}",
        why="A retry that is announced with a countdown starts too early or too late by as much",
        remedy="Set all clocks by the same time server",
        to_copy="timedatectl set-ntp true",
    )


def _judge_worker_versions(facts: Facts, ours: tuple[WorkerFacts, ...]) -> Iterator[Finding]:
    versions = {w.name: w.backout.versions for w in ours if w.backout is not None}
    finding = judge_versions(Code.WORKER_VERSIONS, versions)
    if finding.level is not Level.OK:
        yield finding
        return
    older = [name for name, found in versions.items() if found.get("backout") != facts.versions.get("backout")]
    if older:
        yield Finding(
            code=Code.WORKER_VERSIONS,
            level=Level.NOTE,
            found=f"{say_deed(older, 'has', 'have')} another version of backout than this command",
            why="That is as it should be during a deploy only",
            remedy="Deploy them, or run the `backout` of their release",
        )
    else:
        yield fine(Code.WORKER_VERSIONS, "the tests cover their versions")


def _judge_pools(ours: tuple[WorkerFacts, ...]) -> Finding:
    threads = [w.name for w in ours if w.pool == "threads"]
    untested = [w.name for w in ours if w.pool not in ("prefork", "threads", "solo")]
    crowded = [w.name for w in ours if w.pool != "prefork" and w.concurrency > POOLED_CONNECTIONS]
    if threads:
        return Finding(
            code=Code.WORKER_POOL,
            level=Level.WARNING,
            found=f"{say_deed(threads, 'runs', 'run')} steps on threads, where none can be interrupted",
            why="The ledger takes the claim away at the deadline, and a late answer is kept as an entry; but the "
            "thread stays busy, and a step that is not idempotent ends with a person",
            remedy="Run steps on processes",
            to_copy=f"celery -A proj worker --pool prefork --concurrency {min(ours[0].concurrency, 8)}",
        )
    if untested:
        return Finding(
            code=Code.WORKER_POOL,
            level=Level.NOTE,
            found=f"{say_deed(untested, 'has', 'have')} a pool that no test has run on",
            why="A cold shutdown there acknowledges messages of steps that were cut off; the sweeper sends them again",
            remedy="Stop such workers with SIGTERM and wait for their end",
        )
    if crowded:
        return Finding(
            code=Code.WORKER_POOL,
            level=Level.NOTE,
            found=f"{say_deed(crowded, 'runs', 'run')} more steps at once than {POOLED_CONNECTIONS} ledger connections",
            why="Steps use one for about a millisecond at their start and end, so this is felt only when very many "
            "start at once",
        )
    return fine(Code.WORKER_POOL, "a step that takes too long is interrupted")


def _judge_recycling(ours: tuple[WorkerFacts, ...]) -> Iterator[Finding]:
    each_time = [w.name for w in ours if w.max_tasks_per_child == 1]
    if each_time:
        yield Finding(
            code=Code.WORKER_RECYCLING,
            level=Level.WARNING,
            found=f"{say_deed(each_time, 'starts', 'start')} a new process for each task",
            why="A process takes longer to start than most steps; behind a full queue messages are then sent again "
            "before they are taken up (499 useless deliveries for 194 useful ones were seen)",
            remedy="Let a process run more tasks",
            to_copy="app.conf.worker_max_tasks_per_child = 100",
        )


def _judge_prefetch(facts: Facts, ours: tuple[WorkerFacts, ...]) -> Iterator[Finding]:
    longest = facts.longest_unacknowledged_seconds
    settings = facts.used_settings
    greedy = [
        w.name
        for w in ours
        if w.conf and w.conf.get("worker_prefetch_multiplier") != 1 and not w.conf.get("worker_disable_prefetch")
    ]
    if settings is None or not longest:
        return
    if greedy and longest > settings.resend_seconds:
        yield Finding(
            code=Code.WORKER_PREFETCH,
            level=Level.NOTE,
            found=f"{say_deed(greedy, 'takes', 'take')} more messages than can be run at once",
            why=f"One that waits behind a long step (up to {say_seconds(longest)}) is sent again after "
            f"{say_seconds(settings.resend_seconds)}, though another worker may be free",
            remedy="Where steps are long, let a worker take one message for each process",
            to_copy="app.conf.worker_prefetch_multiplier = 1",
        )
    elif not greedy:
        yield fine(Code.WORKER_PREFETCH, "they take one message for each step that they can run")


def _judge_connection_loss(facts: Facts, ours: tuple[WorkerFacts, ...]) -> Finding:
    cancelling = [w.name for w in ours if w.conf.get("worker_cancel_long_running_tasks_on_connection_loss")]
    if cancelling:
        return Finding(
            code=Code.CONNECTION_LOSS,
            level=Level.WARNING,
            found=f"{say_deed(cancelling, 'ends', 'end')} running steps when the connection to the broker is lost",
            why="A step that is cut off in the middle is in doubt; unless it is idempotent a person is asked. Let it "
            "end: its copy is recognised and dropped",
            remedy="Leave running steps alone",
            to_copy="app.conf.worker_cancel_long_running_tasks_on_connection_loss = False",
        )
    is_redis = isinstance(facts.broker, BrokerFacts) and facts.broker.kind == "redis"
    if is_redis and facts.versions.get("celery", "").startswith("5.7."):
        return Finding(
            code=Code.CONNECTION_LOSS,
            level=Level.NOTE,
            found="Celery 5.7 ends a worker whose Redis goes away during a step",
            why="The step is recorded and its run goes on when a worker is back",
            remedy="Let a supervisor (systemd, Kubernetes, …) start workers again",
            to_copy="Restart=always",
        )
    return fine(Code.CONNECTION_LOSS, "a step that runs survives a lost connection to the broker")

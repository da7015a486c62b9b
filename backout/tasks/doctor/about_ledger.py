"""Findings about the database that holds the ledger. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from backout.tasks.doctor.facts import Facts, Failed, LedgerFacts, NotAsked, WorkerFacts
from backout.tasks.doctor.findings import Code, Finding, Level, fine
from backout.tasks.doctor.wording import say_count, say_names, say_seconds

MOST_CLOCK_SECONDS: Final = 5.0
POOLED_CONNECTIONS: Final = 10
"""The most that one process of a worker opens."""
RESERVED_CONNECTIONS: Final = 3
"""PostgreSQL keeps these for its administrators."""
RAISING: Final = {
    "postgresql": "ALTER SYSTEM SET max_connections = {connections};  -- then restart the database",
    "mysql": "SET PERSIST max_connections = {connections};",
    "mariadb": "SET GLOBAL max_connections = {connections};  -- and in its configuration file",
}
PRODUCTS: Final = {"postgresql": "PostgreSQL", "sqlite": "SQLite", "mysql": "MySQL", "mariadb": "MariaDB"}


def check_ledger(facts: Facts) -> Iterator[Finding]:
    """Yield what is to be said about it; only that it cannot be asked, where it cannot."""
    match facts.ledger:
        case NotAsked(reason=reason):
            yield Finding(code=Code.LEDGER_REACHABLE, level=Level.NOTE, found=f"not asked: {reason}")
        case Failed() as failed:
            yield _report_unreachable(failed)
        case LedgerFacts() as ledger:
            yield _report_reachable(ledger)
            yield _judge_schema(ledger)
            if ledger.revision == ledger.expected_revision:
                yield _judge_tables(ledger)
            yield _judge_clock(ledger)
            yield _judge_durability(ledger)
            yield from _judge_connections(facts, ledger)
            yield from _judge_file(facts, ledger)


def _report_unreachable(failed: Failed) -> Finding:
    place = f"the ledger {failed.place}" if failed.place else "the ledger"
    return Finding(
        code=Code.LEDGER_REACHABLE,
        level=Level.PROBLEM,
        found=f"{place} cannot be asked: {failed.said}",
        why="Without it no step starts and none ends; nothing is lost, and all goes on when it is back",
        remedy=failed.remedy or "Check that the database runs, and that the URL names it with a user who may use it",
    )


def _report_reachable(ledger: LedgerFacts) -> Finding:
    product = PRODUCTS.get(ledger.database.name, ledger.database.name)
    version = f" {ledger.database.version}" if ledger.database.version else ""
    return fine(Code.LEDGER_REACHABLE, f"{ledger.place} answers: {product}{version}")


def _judge_schema(ledger: LedgerFacts) -> Finding:
    if ledger.revision == ledger.expected_revision:
        return fine(Code.LEDGER_SCHEMA, f"its tables are at revision {ledger.revision}, as this release needs them")
    state = "it has no backout tables" if ledger.revision is None else f"its tables are at revision {ledger.revision}"
    return Finding(
        code=Code.LEDGER_SCHEMA,
        level=Level.PROBLEM,
        found=f"{state}; this release needs revision {ledger.expected_revision}",
        why="Workers of this release do not start on it, and nothing can be enqueued",
        remedy="Upgrade it with this release; if it is newer than this release, deploy the newer release instead",
        to_copy="celery -A proj backout ledger upgrade",
    )


def _judge_tables(ledger: LedgerFacts) -> Finding:
    if not ledger.differences:
        return fine(Code.LEDGER_TABLES, "every table, column and index is as it should be")
    return Finding(
        code=Code.LEDGER_TABLES,
        level=Level.PROBLEM,
        found=f"its tables differ from revision {ledger.revision} in {say_count(len(ledger.differences), 'place')}",
        why="Somebody changed them by hand; the engine relies on its constraints and indexes",
        remedy="Look at the differences, and change them back or restore the ledger from a backup",
        to_copy="celery -A proj backout ledger verify",
    )


def _judge_clock(ledger: LedgerFacts) -> Finding:
    if abs(ledger.clock_seconds) <= MOST_CLOCK_SECONDS:
        return fine(Code.LEDGER_CLOCK, "its clock and this machine's agree")
    return Finding(
        code=Code.LEDGER_CLOCK,
        level=Level.WARNING,
        found=f"its clock is {say_difference(ledger.clock_seconds)} this machine's",
        why="All times of runs are the database's: logs of this machine do not fit to them",
        remedy="Set both clocks by the same time server",
        to_copy="timedatectl set-ntp true",
    )


def say_difference(seconds: float) -> str:
    """Return how far one clock is from another: `12 s before`, `3 min behind`."""
    return f"{say_seconds(abs(seconds))} {'before' if seconds > 0 else 'behind'}"


def _judge_durability(ledger: LedgerFacts) -> Finding:
    settings = ledger.database.durability
    unsafe = [setting for setting in settings if not setting.is_safe]
    if not unsafe:
        listed = ", ".join(f"{setting.name} {setting.value}" for setting in settings)
        return fine(Code.LEDGER_DURABILITY, f"a commit survives a crash of its machine ({listed})")
    listed = say_names(f"{setting.name} = {setting.value}" for setting in unsafe)
    return Finding(
        code=Code.LEDGER_DURABILITY,
        level=Level.WARNING,
        found=f"a commit may be lost when the database's machine crashes: {listed}",
        why="A step whose recorded success is lost runs again, and its effect happens twice",
        remedy="Let the database write a commit to disk before it confirms it",
        to_copy="\n".join(setting.remedy for setting in unsafe),
    )


def _judge_connections(facts: Facts, ledger: LedgerFacts) -> Iterator[Finding]:
    workers = [worker for worker in facts.known_workers if worker.backout is not None]
    limit = ledger.database.most_connections
    if limit is None or not workers:
        return
    needed = sum(map(count_connections, workers))
    usable = limit - RESERVED_CONNECTIONS
    if needed <= usable:
        yield fine(Code.LEDGER_CONNECTIONS, f"workers need at most {needed} of its {limit} connections")
    else:
        yield Finding(
            code=Code.LEDGER_CONNECTIONS,
            level=Level.WARNING,
            found=f"workers may need {needed} connections, and the database takes {usable} from its users",
            why="A step that gets no connection waits; so does everybody else who uses this database",
            remedy="Raise the limit of the database, or run fewer processes",
            to_copy=RAISING.get(ledger.database.name, "").format(connections=needed * 2),
        )


def count_connections(worker: WorkerFacts) -> int:
    """Return the most connections that a worker opens, its sweeper included."""
    sweeper = 1 if worker.backout is not None and worker.backout.sweeper_is_alive is not None else 0
    # One for the step and one for its heartbeat, and the one with which the main process looked at the ledger.
    own = 1 + worker.concurrency * 2 if worker.pool == "prefork" else min(worker.concurrency * 2, POOLED_CONNECTIONS)
    return own + sweeper


def _judge_file(facts: Facts, ledger: LedgerFacts) -> Iterator[Finding]:
    hosts = {facts.host} | {worker.backout.host for worker in facts.known_workers if worker.backout is not None}
    if ledger.database.name != "sqlite" or len(hosts) == 1:
        return
    yield Finding(
        code=Code.LEDGER_FILE,
        level=Level.WARNING,
        found=f"the ledger is a file, and it is used on {say_names(hosts)}",
        why="A file belongs to one machine: the others have a ledger of their own, or share it over a network that "
        "does not lock it reliably. (Containers that share a disk of one machine are no harm.)",
        remedy="Use PostgreSQL as soon as there is a second machine",
        to_copy='app.conf.backout_database_url = "postgresql+psycopg://user@host/database"',
    )

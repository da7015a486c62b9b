"""Keep the ledger small from Python: remove runs that ended long ago, for a task that Celery's beat starts."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta

from backout.ledger import queries
from backout.ledger.purging import purge_ledger
from backout.ledger.retention import BATCH, MOST_IN_BATCH, REMOVABLE, Purged, Wanted
from backout.pipelines.engine import Engine, current_engine
from backout.states import RunState


def purge(
    *,
    older_than: timedelta,
    states: Collection[RunState] = REMOVABLE,
    pipeline: str | None = None,
    limit: int | None = None,
    forget_keys: bool = False,
    batch: int = BATCH,
    pause_seconds: float = 0.0,
    engine: Engine | None = None,
) -> Purged:
    """Remove runs that ended long ago, with all their rows; new in 0.1.

    In batches, each a transaction of its own: what was removed stays removed when a later batch fails, and a second
    call goes on. Never removed: a run that can still move on, one about which a person must decide, one in which an
    attempt may still be running. Purges that run at the same time do no harm. Sends no message.

    With a run the ledger forgets its source event (R9): enqueued again, it starts a new run. So `older_than` should be
    longer than any system in front of you repeats its events.

    Args:
        older_than: since the run ended; by the ledger's clock.
        states: in which runs ended; final ones.
        pipeline: only of this pipeline; `None`: of all.
        limit: the most runs to remove in this call; `None`: all that fit.
        forget_keys: also runs whose steps hold an idempotency key of their own. Another run under the same key does
            the step again, because nobody knows that it was done.
        batch: the most runs in one transaction, from 1 to 10,000.
        pause_seconds: between two batches.
        engine: whose ledger; `None`: that of the current Celery app.

    Returns:
        What was removed, and how many runs stayed, by reason. Refused messages of that age are removed only when
        nothing but the age was given.

    Raises:
        ValueError: a state is not final, or a number is out of its range. Nothing was removed.
        ConfigurationError: no Celery app with backout is configured in this process.
        LedgerUnavailable: the database is away; call it again later.
    """
    if not 1 <= batch <= MOST_IN_BATCH or older_than < timedelta(0) or pause_seconds < 0 or (limit or 1) < 1:
        raise ValueError(f"batch must be from 1 to {MOST_IN_BATCH:,}, limit at least 1, and no time negative")
    ledger = (engine or current_engine()).ledger
    instant = ledger.read(queries.read_clock) - older_than
    wanted = Wanted(finished_before=instant, states=tuple(states), pipeline=pipeline, forget_keys=forget_keys)
    return sum(purge_ledger(ledger, wanted, batch=batch, limit=limit, pause_seconds=pause_seconds), Purged())

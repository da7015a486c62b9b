"""Tell what a commit meant: Python signals to receivers in this process, Celery events to whoever monitors.

Always after the commit and after the sends, and read back from the ledger, so that nothing is told that is not
committed. Nothing is asked and nothing costs where nobody listens; nothing that goes wrong here goes any further.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from celery import Celery, current_task

from backout.events import Event, LifecycleEvent, read_lifecycle
from backout.identifiers import RunId
from backout.ledger import following
from backout.ledger.following import FollowedEntry
from backout.ledger.records import Claim, EntryRecord, StepKey
from backout.ledger.session import Ledger, LedgerConnection
from backout.signals import has_receivers, send_signals
from backout.tasks.broker import RETRY_POLICY
from backout.tasks.dispatch import is_broker_taking

logger = logging.getLogger(__name__)

EVENT_PREFIX: Final = "backout-"
"""Before the name of a Celery event: `backout-step-succeeded`. Monitors pass over types that they do not know."""
MOST_ENTRIES: Final = 1_000
"""One commit writes a few entries, and the plan of a long rollback one for each step."""
TAIL: Final = 20
"""Among so many of a run's newest entries the one of a claim that was just taken is looked for."""


class Announcer:
    """Tells what happens to runs in this process.

    Attributes:
        task_events: whether the worker of this process was started with task events on; `None`: it is no worker, or
            nobody said.
    """

    def __init__(self, app: Celery, ledger: Ledger) -> None:
        self._app: Final = app
        self._ledger: Final = ledger
        self.task_events: bool | None = None

    def is_heard(self) -> bool:
        """Return whether anybody would be told."""
        return has_receivers() or self._sends_events()

    def positions(self, connection: LedgerConnection, run_ids: Collection[RunId]) -> Mapping[RunId, int]:
        """Return the last entry of each run, for `announce`; nothing, without a query, where nobody listens."""
        return following.find_last_ids(connection, run_ids) if run_ids and self.is_heard() else {}

    def position_of(self, run_id: RunId) -> int | None:
        """Return the last entry of a run, for `announce`; `None` where nobody listens, or the ledger does not say."""
        if not self.is_heard():
            return None
        try:
            found = self._ledger.read(lambda connection: following.find_last_ids(connection, [run_id]))
        except Exception:
            logger.exception("backout: what happens next to run %s is not announced", run_id)
            return None
        return found.get(run_id, 0)

    def announce_claim(self, claim: Claim) -> int | None:
        """Tell that an attempt has started; return where its run then stood, for `announce`. Never raises."""
        if not self.is_heard():
            return None
        try:
            last = self._ledger.read(
                lambda connection: following.list_last_entries(connection, limit=TAIL, run_id=claim.key.run_id)
            )
        except Exception:
            logger.exception("backout: the claim of %s in run %s is not announced", claim.step, claim.key.run_id)
            return None
        started = [number for number, one in enumerate(last) if _is_claim(one.entry, claim)]
        if not started:
            return last[-1].entry.id if last else None
        number = started[-1]
        opens = claim.attempt == 1 and number > 0 and last[number - 1].entry.event is Event.RUN_STARTED
        self._tell(last[number - 1 if opens else number : number + 1])
        return last[number].entry.id

    def announce(
        self,
        run_id: RunId,
        *,
        after_id: int | None,
        actors: Collection[str] | None = None,
        without_claim: Claim | None = None,
    ) -> None:
        """Tell what has happened to a run. Never raises.

        Args:
            run_id: of the run.
            after_id: what came after this entry; `None`: nobody listened then, nothing is told.
            actors: tell only what these did: others tell themselves what they do to the run at the same time.
            without_claim: whose start is told by `announce_claim`.
        """
        if after_id is None or not self.is_heard():
            return
        try:
            found = self._ledger.read(
                lambda connection: following.list_entries_after(connection, after_id, limit=MOST_ENTRIES, run_id=run_id)
            )
        except Exception:
            logger.exception("backout: what happened to run %s after entry %s is not announced", run_id, after_id)
            return
        self._tell(
            [
                one
                for one in found
                if (actors is None or one.entry.actor in actors)
                and (without_claim is None or not _is_claim(one.entry, without_claim))
            ]
        )

    def announce_created(self, run_ids: Collection[RunId], *, actors: Collection[str]) -> None:
        """Tell that runs are there, as `announce` would one by one: with one query for all. Never raises."""
        if not run_ids or not self.is_heard():
            return
        try:
            found = self._ledger.read(lambda connection: following.list_entries_of(connection, run_ids))
        except Exception:
            logger.exception("backout: the creation of %d runs is not announced", len(run_ids))
            return
        self._tell([one for one in found if one.entry.actor in actors])

    def _tell(self, followed: Sequence[FollowedEntry]) -> None:
        events = [event for one in followed for event in read_lifecycle(one.entry, pipeline=one.pipeline)]
        for event in events:
            send_signals(event)
        if events and self._sends_events() and is_broker_taking():
            self._send_events(events)

    def _sends_events(self) -> bool:
        if self.task_events is not None:
            return self.task_events
        # Outside of a worker Celery has a setting of its own for events of what is sent.
        conf = self._app.conf
        return bool(conf.worker_send_task_events if current_task else conf.task_send_sent_event)

    def _send_events(self, events: Sequence[LifecycleEvent]) -> None:
        """Send Celery events from this process's pool of producers, as Celery sends those of tasks."""
        hostname = current_task.request.hostname if current_task else None
        try:
            with self._app.events.default_dispatcher(hostname=hostname) as dispatcher:
                for event in events:
                    dispatcher.send(event_type(event), retry=True, retry_policy=RETRY_POLICY, **event_fields(event))
        except Exception as error:
            logger.warning("backout: Celery events of run %s were not sent: %s", events[0].run_id, error)


def event_type(event: LifecycleEvent) -> str:
    """Return the type of the Celery event: `backout-step-succeeded`."""
    return f"{EVENT_PREFIX}{event.name.value.replace('_', '-')}"


def event_fields(event: LifecycleEvent) -> dict[str, Any]:
    """Return the fields of the Celery event: ids and names. No reason: it may quote what a customer has typed."""
    return {
        "run_id": event.run_id,
        "pipeline": event.pipeline,
        "step": event.step,
        "direction": event.direction.value if event.direction is not None else None,
        "attempt": event.attempt,
        "entry_id": event.entry_id,
    }


def _is_claim(entry: EntryRecord, claim: Claim) -> bool:
    if entry.event is not Event.ATTEMPT_STARTED or entry.attempt != claim.attempt:
        return False
    if entry.run_id is None or entry.round is None or entry.position is None or entry.direction is None:
        return False
    key = StepKey(run_id=entry.run_id, round=entry.round, position=entry.position, direction=entry.direction)
    return key == claim.key

"""What a Celery app needs to run pipelines: its settings, its ledger, the plans it has read."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final

from celery import Celery

from backout.identifiers import RunId
from backout.ledger import queries, schema
from backout.ledger.records import Claim
from backout.ledger.session import Ledger
from backout.pipelines.contract import Plan
from backout.pipelines.message import StepMessage
from backout.pipelines.registry import all_pipelines
from backout.settings import PREFIX, Settings
from backout.tasks.announce import Announcer
from backout.tasks.broker import apply_broker_defaults, has_quorum_queues
from backout.tasks.dispatch import send_compensations, send_step
from backout.tasks.dispatch_many import send_steps

CACHED_PLANS: Final = 200
_ATTRIBUTE: Final = "_backout_runtime"
_making = threading.Lock()
_sources: Final[list[Callable[[Celery], Mapping[str, Any]]]] = []


class Runtime:
    """One for each Celery app and process (children of a fork keep their parent's; the ledger copes)."""

    def __init__(self, app: Celery, settings: Settings) -> None:
        self.app: Final = app
        self.settings: Final = settings
        self.unverified_ledger: Final = Ledger(settings.database_url)
        self.announcer: Final = Announcer(app, self.unverified_ledger)
        self._is_verified = False
        self._plans: OrderedDict[str, Plan] = OrderedDict()

    @property
    def ledger(self) -> Ledger:
        """The ledger; its schema is verified at the first use in each process.

        Raises:
            SchemaMismatch: it is not the one of this release.
        """
        if not self._is_verified:
            schema.verify(self.unverified_ledger)
            self._is_verified = True
        return self.unverified_ledger

    @property
    def countdown_limit_seconds(self) -> float:
        """Retry delays up to this go with the message as a countdown; longer ones wait in the ledger."""
        return 0.0 if has_quorum_queues(self.app) else self.settings.countdown_limit_seconds

    def send(self, message: StepMessage) -> bool:
        """Send a step's message; False when the broker did not take it: the sweeper will."""
        return send_step(self.app, message)

    def send_many(self, messages: Sequence[StepMessage]) -> int:
        """Send many steps' messages; return how many the broker is not known to have taken: the sweeper will."""
        return send_steps(self.app, messages)

    def send_compensations(self, messages: Sequence[StepMessage]) -> bool:
        """Send compensations as one chain, in this order. Returns as `send`."""
        return send_compensations(self.app, messages)

    def position_of(self, run_id: RunId) -> int | None:
        """Return where a run stands, to `announce` later what came after; `None` where nobody listens."""
        return self.announcer.position_of(run_id)

    def announce(
        self,
        run_id: RunId,
        *,
        after_id: int | None,
        actors: Collection[str] | None = None,
        without_claim: Claim | None = None,
    ) -> None:
        """Tell what has happened to a run, as signals and Celery events. See `Announcer.announce`."""
        self.announcer.announce(run_id, after_id=after_id, actors=actors, without_claim=without_claim)

    def announce_created(self, run_ids: Collection[RunId], *, actors: Collection[str]) -> None:
        """Tell that runs are there. See `Announcer.announce_created`."""
        self.announcer.announce_created(run_ids, actors=actors)

    def plan_of(self, run_id: RunId, digest: str) -> Plan:
        """Return the plan that was recorded with a run; read once for each digest.

        Raises:
            LookupError: the ledger has no such run.
            ValueError: the plan is of a format that this release does not know.
        """
        if (plan := self._plans.get(digest)) is not None:
            return plan
        plan = next((known.plan for known in all_pipelines().values() if known.plan.digest == digest), None)
        if plan is None:
            stored = self.ledger.read(lambda connection: queries.load_plan(connection, run_id))
            if stored is None:
                message = f"the ledger has no run {run_id}"
                raise LookupError(message)
            plan = Plan.from_json(stored)
        self._plans[digest] = plan
        if len(self._plans) > CACHED_PLANS:
            self._plans.popitem(last=False)
        return plan


def runtime_of(app: Celery) -> Runtime:
    """Return the runtime of a Celery app; made at the first call from its `backout_*` settings.

    Raises:
        ConfigurationError: a setting is missing or cannot be used.
    """
    runtime: Runtime | None = app.__dict__.get(_ATTRIBUTE)
    if runtime is None:
        with _making:
            runtime = app.__dict__.get(_ATTRIBUTE)
            if runtime is None:
                runtime = Runtime(app, Settings.from_mapping(configured(app)))
                apply_broker_defaults(app)
                setattr(app, _ATTRIBUTE, runtime)
    return runtime


def has_runtime(app: Celery) -> bool:
    """Return whether `runtime_of` was called for an app."""
    return _ATTRIBUTE in app.__dict__


def forget_runtime(app: Celery) -> None:
    """Make the next `runtime_of` read the settings again."""
    runtime: Runtime | None = app.__dict__.pop(_ATTRIBUTE, None)
    if runtime is not None:
        runtime.unverified_ledger.dispose()


def renew_runtime(app: Celery, database_url: str) -> None:
    """Forget the runtime where its ledger is not the one that the settings name now."""
    runtime: Runtime | None = app.__dict__.get(_ATTRIBUTE)
    if runtime is not None and runtime.settings.database_url != database_url:
        forget_runtime(app)


def add_settings_source(source: Callable[[], Mapping[str, Any]]) -> None:
    """Let a framework say what the Celery configuration leaves open.

    Args:
        source: returns settings with their prefix, `backout_…`; asked each time that settings are read.
    """
    _sources.append(lambda _: source())


def add_app_settings_source(source: Callable[[Celery], Mapping[str, Any]]) -> None:
    """Do the same where a process may have several Celery apps, each of another application.

    Args:
        source: returns settings with their prefix for this Celery app; empty for one that it does not know.
    """
    _sources.append(source)


def configured(app: Celery) -> dict[str, Any]:
    """Return the `backout_*` settings of a Celery app, also those set under a namespace (`CELERY_BACKOUT_…`).

    What the Celery configuration says comes before what a framework says.
    """
    known = {f"{PREFIX}{name}" for name in Settings.model_fields}
    # Under a namespace Celery finds `CELERY_BACKOUT_…` by its plain name; a misspelt one has to be found as well.
    names = (key.removeprefix(app.conf.prefix or "").lower() for key in app.conf if isinstance(key, str))
    written = {name for name in names if name.startswith(PREFIX)}
    own = {key: app.conf[key] for key in known | written if app.conf.get(key) is not None}
    return {key: value for source in _sources for key, value in source(app).items()} | own

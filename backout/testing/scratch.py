"""A place to run pipelines for a test: an app, a broker in memory, a ledger in a folder, nothing else touched.

The engine is the real one. What is missing is what takes time: workers, a network, and waiting.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import backout.app as _app  # noqa: F401 - registers the tasks of all steps
from backout.faultpoints import SimulatedDeath
from backout.ledger import queries
from backout.ledger.records import ReviewRecord, RunRecord, StepKey
from backout.pipelines.engine import engine_in_place
from backout.pipelines.handle import RunHandle
from backout.pipelines.pipeline import Pipeline
from backout.settings import PREFIX
from backout.states import SETTLED_RUN_STATES, RunState
from backout.tasks.runtime import Runtime, forget_runtime, runtime_of
from backout.tasks.shield import SIGNALS
from backout.tasks.sweeper import sweep_once
from backout.testing.scratch_broker import ScratchApp
from backout.testing.scratch_ledger import ScratchLedger

MOST_SWEEPS: Final = 60
"""How often the sweeper looks until a run that still moves counts as one that never ends."""
_MOVING: Final = tuple(state for state in RunState if state not in SETTLED_RUN_STATES)


class Scratch:
    """Runs pipelines in this process, each to its end, at once.

    Inside its `with` block everything that is enqueued in this process goes to it, whatever Celery app is configured;
    no other broker or ledger hears of it. Retries, timeouts of claims and other waits are over as soon as they begin.

    ```python
    with Scratch(tmp_path) as scratch:
        handle = scratch.run(fulfil_order, Order(id="1", amount_cents=500))
        assert handle.status().state is RunState.SUCCEEDED
    ```

    Args:
        folder: for the ledger, a SQLite file; the caller removes it.
    """

    def __init__(self, folder: Path) -> None:
        self.delivered: StepKey | None = None
        self._ledger: Final = ScratchLedger(folder)
        self._app: Final = ScratchApp({f"{PREFIX}database_url": self._ledger.url})
        self._open: Final = ExitStack()

    def __enter__(self) -> Self:
        """Let everything that is enqueued go here."""
        with ExitStack() as opening:
            opening.callback(self._app.close)
            opening.callback(forget_runtime, self._app)
            opening.enter_context(_signal_handlers_kept())
            self.renew()
            opening.enter_context(engine_in_place(self.runtime))
            self._open.push(opening.pop_all())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let it go where it went before."""
        self._open.close()

    @property
    def runtime(self) -> Runtime:
        """What the engine's functions need."""
        return runtime_of(self._app)

    def run(self, pipeline: Pipeline, value: Any, *, source_event_id: str | None = None) -> RunHandle:
        """Enqueue a run and run it until it is final or waits for a person.

        Raises:
            InvalidInput, PayloadTooLarge: as `Pipeline.enqueue`; nothing was written.
        """
        handle = pipeline.enqueue(value, source_event_id=source_event_id)
        self.settle()
        return handle

    def settle(self) -> None:
        """Run everything that was enqueued here until it is final or waits for a person.

        Raises:
            RuntimeError: a run goes on for ever.
        """
        for _ in range(MOST_SWEEPS):
            self.deliver()
            if not self._moving_runs():
                return
            self._sweep()
        moving = ", ".join(f"{run.id} ({run.state.value})" for run in self._moving_runs())
        message = f"these runs still go on after {MOST_SWEEPS} looks of the sweeper: {moving}"
        raise RuntimeError(message)

    def deliver(self) -> None:
        """Deliver the messages that wait, and those that they cause; one whose worker dies is delivered again."""
        while (delivery := self._app.next_delivery()) is not None:
            if delivery.is_delayed:
                self._ledger.make_retries_due()
            self.delivered = delivery.key
            try:
                delivery.execute()
            except SimulatedDeath:
                self._ledger.bury_this_process()
                delivery.give_back()
            finally:
                self.delivered = None

    def reviews(self, handle: RunHandle) -> list[ReviewRecord]:
        """Return what a person is asked about a run, oldest first."""
        return self.runtime.ledger.read(lambda where: queries.list_reviews(where, handle.id, open_only=True))

    def renew(self) -> None:
        """Forget all runs and messages."""
        self._app.forget_messages()
        # Its connections must be closed before the file goes.
        self.runtime.unverified_ledger.dispose()
        self._ledger.renew()

    def _moving_runs(self) -> list[RunRecord]:
        return self.runtime.ledger.read(lambda where: queries.list_runs(where, states=_MOVING))

    def _sweep(self) -> None:
        self._ledger.pass_time()
        try:
            sweep_once(self.runtime)
        except SimulatedDeath:
            self._ledger.bury_this_process()


@contextmanager
def _signal_handlers_kept() -> Iterator[None]:
    """Give signals their handlers back at the end: the engine wraps them, for good, in the process that runs steps."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            if handler is not None:
                signal.signal(number, handler)

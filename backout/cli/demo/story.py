"""The acts: what the demo does, in order; all that it shows is read from the ledger, the books and the processes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from backout.cli.demo.app import deliver_order
from backout.cli.demo.books import Books
from backout.cli.demo.orders import Order, ReadOrder
from backout.cli.demo.screen import Screen
from backout.cli.demo.stage import Stage
from backout.cli.demo.verdict import Check, Evidence, attempts_of, judge, judge_refused
from backout.cli.demo.watch import StoryFailed, Watch
from backout.cli.demo.worker import Killed, Worker
from backout.errors import InvalidInput
from backout.ledger import queries
from backout.ledger.session import Ledger
from backout.pipelines.handle import RunHandle
from backout.states import StepState
from backout.views.picture import RunPicture

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """An order that the pipeline did not take."""

    id: str
    error: InvalidInput


@dataclass(slots=True, kw_only=True)
class Told:
    """What has happened so far."""

    refused: list[Refused] = field(default_factory=list)
    evidence: list[Evidence] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)

    @property
    def failed_checks(self) -> list[Check]:
        """What is not as it should be."""
        return [check for check in self.checks if not check.holds]


class Story:
    """Runs the orders through the pipeline, act by act.

    Args:
        heed: called while something is awaited; raises when waiting has become useless.
        told: filled while the story goes on, so that what happened is known also when it breaks off.
    """

    def __init__(
        self,
        *,
        stage: Stage,
        ledger: Ledger,
        books: Books,
        worker: Worker,
        screen: Screen,
        heed: Callable[[], None],
        told: Told,
    ) -> None:
        self.stage = stage
        self.ledger = ledger
        self.books = books
        self.worker = worker
        self.screen = screen
        self.heed = heed
        self.told = told

    def tell(self, orders: Sequence[ReadOrder]) -> None:
        """Play all acts; one for which the file has no order is left out, and that is said.

        Raises:
            StoryFailed: something did not happen.
            WorkerFailed: the worker ended by itself.
        """
        good = [read.order for read in orders if read.order is not None]
        late = [order for order in good if order.is_answered_late]
        quick = [order for order in good if not order.is_answered_late]
        self.screen.act("An entry that is no order is refused; the others run")
        self._each([read for read in orders if read.order is None], self._refuse)
        self.screen.act("1  An order that succeeds")
        self._each([order for order in quick if order.is_deliverable], self._run)
        self.screen.act("2  No courier goes there: what was done is undone in reverse")
        self._each([order for order in quick if not order.is_deliverable], self._run)
        self.screen.act("3  The worker is killed in the middle of a step")
        self._each(late, self._run_and_kill)

    def _each(self, orders: Sequence[T], play: Callable[[T], None]) -> None:
        if not orders:
            self.screen.say("The file has no such order; this act is left out.")
        for order in orders:
            play(order)

    def _refuse(self, read: ReadOrder) -> None:
        event_id = self._event_id(read.id)
        try:
            handle = deliver_order.enqueue(read.content, source_event_id=event_id)
        except InvalidInput as error:
            self.told.refused.append(Refused(id=read.id, error=error))
            self.screen.refused(read.id, error)
        else:
            raise StoryFailed(f"order {read.id} is malformed and was taken, as run {handle.id}")
        found = self.ledger.read(lambda connection: queries.find_run_of_event(connection, deliver_order.name, event_id))
        effects, requests = self.books.effects_of(read.id), self.books.requests_of(read.id)
        self._judge(judge_refused(read.id, runs=int(found is not None), effects=effects, requests=requests))

    def _run(self, order: Order) -> None:
        handle = self._enqueue(order)
        with self._watch(handle) as watch:
            picture = watch.until(_is_settled, what="the run has ended")
        self._conclude(order, picture, killed=None)

    def _run_and_kill(self, order: Order) -> None:
        handle = self._enqueue(order)
        with self._watch(handle) as watch:
            picture = watch.until(
                lambda picture: self._is_charged_without_answer(order, picture),
                what="the bank has charged the card and has not answered",
            )
            self.screen.in_the_middle(attempts_of(picture, "charge_card")[-1], self.books.effects_of(order.id)[-1])
            killed = self._kill()
            self.screen.killed(killed, watch.look())
            self.worker.start(watch.look)
            self.screen.started(self.worker)
            picture = watch.until(_is_settled, what="the run has ended under the new worker")
        self._conclude(order, picture, killed=killed)

    def _kill(self) -> Killed:
        killed = self.worker.kill()
        if killed is None:
            raise StoryFailed("there was no worker to kill")
        return killed

    def _enqueue(self, order: Order) -> RunHandle:
        handle = deliver_order.enqueue(order, source_event_id=self._event_id(order.id))
        self.screen.enqueued(order, handle.id)
        return handle

    def _event_id(self, order_id: str) -> str:
        # With the name of the demo, because a ledger of the user's own may have runs of an earlier one.
        return f"{self.stage.name}/{order_id}"

    def _watch(self, handle: RunHandle) -> Watch:
        return Watch(self.screen.console, self.ledger, handle.id, heed=self.heed)

    def _is_charged_without_answer(self, order: Order, picture: RunPicture) -> bool:
        is_charged = any(effect.deed == "charge" for effect in self.books.effects_of(order.id))
        is_answered = any(
            request.deed == "charge" and request.answered_at for request in self.books.requests_of(order.id)
        )
        is_running = any(row.step == "charge_card" and row.state is StepState.RUNNING for row in picture.steps)
        return is_charged and is_running and not is_answered

    def _conclude(self, order: Order, picture: RunPicture, *, killed: Killed | None) -> None:
        evidence = Evidence(
            order=order,
            picture=picture,
            effects=self.books.effects_of(order.id),
            requests=self.books.requests_of(order.id),
            killed=killed,
        )
        self.told.evidence.append(evidence)
        self.screen.run(picture)
        if killed is not None:
            self.screen.done_once(evidence)
        self._judge(judge(evidence))

    def _judge(self, checks: Sequence[Check]) -> None:
        self.told.checks += checks


def _is_settled(picture: RunPicture) -> bool:
    return picture.run.state.is_settled

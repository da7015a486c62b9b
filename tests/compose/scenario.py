"""What has to work once all services are up: orders, failures, and the deaths of a worker and of the broker."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Final
from uuid import UUID

from tests.compose.clients import Customer, Flower, LedgerReader
from tests.compose.failure import CheckFailed
from tests.compose.supervisor import Supervisor

QUICK_SECONDS: Final = 60.0
"""For what takes a second or two on a machine that does nothing else."""
RECOVERY_SECONDS: Final = 300.0
"""For what waits until a dead worker's claim has expired, and for its message to be sent again."""
ORDERS_UNDER_WAY: Final = 6
KILL_TRIES: Final = 5
FINAL_STATES: Final = ("succeeded", "rolled_back", "failed", "cancelled")
SETTLED_STATES: Final = (*FINAL_STATES, "in_review", "parked", "paused")
POLL_SECONDS: Final = 0.01


class Scenario:
    """The steps of the check, in order."""

    def __init__(self, supervisor: Supervisor, *, say: Callable[[str, str], None]) -> None:
        self._supervisor = supervisor
        self._say = say
        self._customer = Customer("http://web:8000")
        environment = supervisor.services["worker"].service.environment
        self._ledger = LedgerReader(environment["DATABASE_URL"])
        credentials = supervisor.services["flower"].service.environment["FLOWER_BASIC_AUTH"]
        self._flower = Flower("http://flower:5555", credentials=credentials)

    def run(self) -> None:
        """Go through all of it.

        Raises:
            CheckFailed: something is not as it should be.
        """
        if not self._flower.refuses_strangers():
            raise CheckFailed("Flower shows tasks to somebody without a password")
        good = self.check_order(courier_fails=False, expected="succeeded")
        bad = self.check_order(courier_fails=True, expected="rolled_back")
        if good == bad:
            raise CheckFailed(f"customers are told the same whether their order went well or not: {good!r}")
        self.replace_worker()
        self.kill_worker()
        self.kill_redis()

    def check_order(self, *, courier_fails: bool, expected: str) -> str:
        """Place an order, see it end as expected, on its page and in Flower, and return what its customer is told."""
        page, run_id = self._place_order(courier_fails=courier_fails)
        self._wait_for_state(run_id, expected, timeout_seconds=QUICK_SECONDS)
        message = self._read_message(run_id)
        if message not in self._customer.read(page):
            raise CheckFailed(f"the page of an order does not say {message!r}")
        tasks = self._ledger.tasks(run_id)
        seen = {"SUCCESS", "FAILURE"}
        self._supervisor.wait_for(
            lambda: all(self._flower.task_state(task.id) in seen for task in tasks),
            timeout_seconds=QUICK_SECONDS,
            what=f"Flower shows {len(tasks)} tasks of the run {run_id}",
        )
        if (shown := self._flower.run_state(run_id)) != expected:
            raise CheckFailed(f"Flower's tab says that a run is {shown}, and it is {expected}")
        self._say("order", f"{expected}, seen in Flower with {len(tasks)} tasks; its page: {message}")
        return message

    def replace_worker(self) -> None:
        """Replace the worker while runs are under way: it finishes its steps first, and the next one goes on."""
        runs = [self._place_order(courier_fails=False)[1] for _ in range(ORDERS_UNDER_WAY)]
        self._wait_for_running_step(runs)
        self._supervisor.replace("worker")
        if self._ledger.lost_attempts():
            raise CheckFailed("the worker was told to end and left a step in the middle")
        for run_id in runs:
            self._wait_for_state(run_id, "succeeded", timeout_seconds=QUICK_SECONDS)
        self._supervisor.wait_until_up(timeout_seconds=QUICK_SECONDS)
        self._say("worker", "is replaced; its steps were finished, and its runs went on")

    def kill_worker(self) -> None:
        """Kill the worker while runs are under way, and see them end right all the same."""
        worker = self._supervisor.services["worker"]
        for _ in range(KILL_TRIES):
            runs = [self._place_order(courier_fails=number == 1)[1] for number in range(ORDERS_UNDER_WAY)]
            self._wait_for_running_step(runs)
            starts = worker.starts
            worker.kill()
            self._supervisor.wait_for(
                lambda starts=starts: worker.starts > starts,  # type: ignore[misc]
                timeout_seconds=QUICK_SECONDS,
                what="the worker is started again",
            )
            unfinished = [run_id for run_id in runs if self._ledger.state(run_id) not in FINAL_STATES]
            if unfinished:
                break
        else:
            raise CheckFailed(f"the worker was killed {KILL_TRIES} times and had always finished its runs before")
        self._supervisor.wait_until_up(timeout_seconds=QUICK_SECONDS)
        asked = sum(
            self._wait_for_recovery(run_id, "rolled_back" if number == 1 else "succeeded")
            for number, run_id in enumerate(runs)
        )
        self._say("worker", f"is back; {len(unfinished)} runs that it had left have ended right{describe(asked)}")

    def kill_redis(self) -> None:
        """Kill the broker while runs are under way: they end right, and the next order goes through."""
        redis = self._supervisor.services["redis"]
        runs = [self._place_order(courier_fails=False)[1] for _ in range(ORDERS_UNDER_WAY)]
        self._wait_for_running_step(runs)
        starts = redis.starts
        redis.kill()
        self._supervisor.wait_for(
            lambda: redis.starts > starts, timeout_seconds=QUICK_SECONDS, what="Redis is started again"
        )
        self._supervisor.wait_until_up(timeout_seconds=QUICK_SECONDS)
        self.check_order(courier_fails=False, expected="succeeded")
        asked = sum(self._wait_for_recovery(run_id, "succeeded") for run_id in runs)
        self._say("redis", f"is back; the runs that were under way have ended right{describe(asked)}")

    def _place_order(self, *, courier_fails: bool) -> tuple[str, UUID]:
        before = self._ledger.run_ids()
        page = self._customer.order(courier_fails=courier_fails)
        new = self._ledger.run_ids() - before
        if len(new) != 1:
            raise CheckFailed(f"an order made {len(new)} runs")
        return page, new.pop()

    def _wait_for_state(self, run_id: UUID, expected: str, *, timeout_seconds: float) -> None:
        self._supervisor.wait_for(
            lambda: self._ledger.state(run_id) in SETTLED_STATES,
            timeout_seconds=timeout_seconds,
            what=f"the run {run_id} has ended",
        )
        state = self._ledger.state(run_id)
        if state != expected:
            raise CheckFailed(f"the run {run_id} is {state} and not {expected}")

    def _wait_for_recovery(self, run_id: UUID, expected: str) -> bool:
        """Wait for the end of a run that may have been cut off; True if it rightly asks a person instead."""

        def has_settled() -> bool:
            # Instead of a minute of waiting for the claims of the dead to expire.
            self._ledger.let_time_pass()
            return self._ledger.state(run_id) in SETTLED_STATES

        self._supervisor.wait_for(
            has_settled, timeout_seconds=RECOVERY_SECONDS, what=f"the run {run_id}, which was cut off, has ended"
        )
        if self._ledger.state(run_id) == "in_review" and self._ledger.asks_rightly(run_id):
            return True
        self._wait_for_state(run_id, expected, timeout_seconds=QUICK_SECONDS)
        return False

    def _wait_for_running_step(self, runs: list[UUID]) -> None:
        deadline = time.monotonic() + QUICK_SECONDS
        while not self._ledger.running_steps():
            if all(self._ledger.state(run_id) in FINAL_STATES for run_id in runs):
                return
            if time.monotonic() > deadline:
                raise CheckFailed("orders were placed and no worker runs their steps")
            time.sleep(POLL_SECONDS)

    def _read_message(self, run_id: UUID) -> str:
        """Return what a customer may be told, by the command line in the worker's container."""
        command = ["celery", "--app", "shop", "backout", "runs", "show", str(run_id), "--json"]
        output = self._supervisor.services["worker"].run(command, timeout_seconds=QUICK_SECONDS)
        return str(json.loads(output[output.index("{") :])["customer_message"])


def describe(asked: int) -> str:
    """Return what to add about runs that ask a person, because a mail was cut off, say; empty if there are none."""
    return f", {asked} of them by asking about a step that may not be repeated" if asked else ""

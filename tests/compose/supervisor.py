"""All services together: started in the order of their dependencies, watched, restarted, and stopped."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from tests.compose.failure import CheckFailed
from tests.compose.model import ComposeFile, Condition
from tests.compose.service import Health, RunningService

LOOK_SECONDS: Final = 0.05


class Supervisor:
    """Does for the services what `docker compose up` and the Docker engine do."""

    def __init__(self, compose: ComposeFile, *, folder: Path, say: Callable[[str, str], None]) -> None:
        self.services = {
            name: RunningService(name, service, folder=folder, say=say) for name, service in compose.services.items()
        }
        self._say = say
        self._is_ending = threading.Event()
        self._lock = threading.Lock()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._watch, name="supervisor", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_ending.set()
        self._thread.join()
        # In no order: after `stop` nothing is left, and after a failure nobody waits for grace periods.
        for service in self.services.values():
            service.remove()

    def stop(self) -> None:
        """Stop all services, those first that others do not depend on.

        Raises:
            CheckFailed: one did not end by itself when it was told to.
        """
        for name in reversed(self._in_order()):
            with self._lock:
                self._refuse_killed(name, has_ended=self.services[name].stop())

    def replace(self, name: str) -> None:
        """Stop a service and start it anew, as a new version is brought in.

        Raises:
            CheckFailed: it did not end by itself when it was told to.
        """
        with self._lock:
            self._refuse_killed(name, has_ended=self.services[name].stop())
            self.services[name].start()

    def wait_until_up(self, *, timeout_seconds: float) -> None:
        """Wait until each service is healthy, or has done what it had to.

        Raises:
            CheckFailed: one ended for good with an error, is unhealthy, or the time is up.
        """
        self.wait_for(self._all_up, timeout_seconds=timeout_seconds, what="all services are up")

    def wait_for(self, condition: Callable[[], bool], *, timeout_seconds: float, what: str) -> None:
        """Wait until the condition is true.

        Raises:
            CheckFailed: the time is up, or a service has failed for good.
        """
        deadline = time.monotonic() + timeout_seconds
        while not condition():
            if self._error is not None:
                raise CheckFailed("the services are no longer watched") from self._error
            with self._lock:
                self._refuse_lost_services()
            if time.monotonic() > deadline:
                raise CheckFailed(f"waited {timeout_seconds:g} s in vain until {what}. {self._describe()}")
            time.sleep(LOOK_SECONDS)

    def _watch(self) -> None:
        try:
            while not self._is_ending.wait(LOOK_SECONDS):
                with self._lock:
                    for service in self.services.values():
                        self._look_at(service)
        except BaseException as error:
            self._error = error
            raise

    def _look_at(self, service: RunningService) -> None:
        if service.has_started:
            service.look()
        elif self._may_start(service):
            service.start()

    def _may_start(self, service: RunningService) -> bool:
        return all(
            self._is_met(self.services[name], dependency.condition)
            for name, dependency in service.service.depends_on.items()
        )

    def _is_met(self, service: RunningService, condition: Condition) -> bool:
        match condition:
            case Condition.STARTED:
                return service.has_started
            case Condition.HEALTHY:
                return service.health is Health.HEALTHY
            case Condition.COMPLETED:
                return service.is_over and service.exit_code == 0

    def _all_up(self) -> bool:
        with self._lock:
            return all(
                service.health is Health.HEALTHY or (service.is_over and service.exit_code == 0)
                for service in self.services.values()
            )

    def _refuse_killed(self, name: str, *, has_ended: bool) -> None:
        if not has_ended:
            seconds = self.services[name].service.stop_grace_period
            raise CheckFailed(f"{name} did not end within its grace period of {seconds:g} s and was killed")

    def _refuse_lost_services(self) -> None:
        for name, service in self.services.items():
            if service.is_over and service.exit_code != 0:
                raise CheckFailed(f"{name} has ended with {service.exit_code}, and nothing starts it again")
            if service.is_in_crash_loop:
                raise CheckFailed(f"{name} ends with {service.exit_code} each time that it is started")
            if service.health is Health.UNHEALTHY:
                raise CheckFailed(f"{name} is unhealthy")

    def _describe(self) -> str:
        states = (f"{name}: {service.health}, {service.starts} starts" for name, service in self.services.items())
        return "; ".join(states)

    def _in_order(self) -> list[str]:
        """Return the names so that each comes after those that it depends on."""
        ordered: list[str] = []
        while len(ordered) < len(self.services):
            ready = [
                name
                for name, service in self.services.items()
                if name not in ordered and all(other in ordered for other in service.service.depends_on)
            ]
            if not ready:
                raise CheckFailed("services depend on each other in a circle")
            ordered += ready
        return ordered

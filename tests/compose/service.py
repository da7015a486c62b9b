"""One service over time: its starts, its health, and what its restart policy does when it ends."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Final

from tests.compose.failure import CheckFailed
from tests.compose.images import SYSTEM_FOLDERS, Image, find_image
from tests.compose.model import HealthCheck, Service
from tests.compose.process import ServiceProcess, Specification, end_group, make_empty_folder, new_hostname

FIRST_RESTART_SECONDS: Final = 0.1
LONGEST_RESTART_SECONDS: Final = 60.0
GOOD_RUN_SECONDS: Final = 10.0
"""As Docker does it: the pause before a restart doubles, and begins anew after a run of ten seconds."""

CRASH_LOOP_SECONDS: Final = 3.0
"""The pause after six short runs in a row."""
END_SECONDS: Final = 30.0
"""The most that a killed process takes to be gone."""


class Health(StrEnum):
    """What the health check says."""

    UNKNOWN = "unknown"
    """It has none, or does not run."""
    STARTING = "starting"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"


class RunningService:
    """A service of the compose file and the process that it is at the moment."""

    def __init__(self, name: str, service: Service, *, folder: Path, say: Callable[[str, str], None]) -> None:
        self.name = name
        self.service = service
        self.folder = make_empty_folder(folder / name)
        self.image: Image = find_image(service, folder=folder)
        self.log_path = folder / f"{name}.log"
        self.health = Health.UNKNOWN
        self.starts = 0
        self.exit_code: int | None = None
        """Of the last process that ended."""
        self.process: ServiceProcess | None = None
        self.may_start_at: float | None = None
        """When a restart is due; `None` when none is."""
        self._say = say
        self._pause = FIRST_RESTART_SECONDS
        self._started_at = 0.0
        self._probe: Probe | None = None

    @property
    def has_started(self) -> bool:
        """True from the first start on."""
        return self.starts > 0

    @property
    def is_over(self) -> bool:
        """True when it has ended and nothing will start it again."""
        return self.has_started and self.process is None and self.may_start_at is None

    @property
    def is_in_crash_loop(self) -> bool:
        """True when it ended again and again soon after its start."""
        return self._pause > CRASH_LOOP_SECONDS

    def start(self) -> None:
        """Start the service's process."""
        self._say(self.name, "starts" if not self.has_started else "starts again")
        self.starts += 1
        self.may_start_at = None
        self._started_at = time.monotonic()
        with self.log_path.open("ab") as log:
            self.process = ServiceProcess(self._specify(), log=log)
        check = self.service.healthcheck
        if check is not None:
            self.health = Health.STARTING
            self._probe = Probe(check, started_at=self._started_at, log_path=self.log_path)

    def look(self) -> None:
        """Notice what has happened since the last look, and do what is due."""
        now = time.monotonic()
        if self.process is None:
            if self.may_start_at is not None and now >= self.may_start_at:
                self.start()
        elif (code := self.process.exit_code) is not None:
            self._note_end(code, now)
        elif self._probe is not None:
            health = self._probe.look(self.process, self.health, now)
            if health is not self.health:
                self.health = health
                self._say(self.name, f"is {health}")

    def stop(self) -> bool:
        """Stop it with the signal of its image; False if it had to be killed after its grace period."""
        process = self.process
        if process is None:
            self.remove()
            return True
        process.send_signal(self.image.stop_signal)
        has_ended = process.wait(self.service.stop_grace_period)
        self.remove()
        self.exit_code = process.exit_code
        self._say(self.name, f"is stopped, with {self.exit_code}")
        return has_ended

    def remove(self) -> None:
        """End it at once and start it no more."""
        self.may_start_at, self.health = None, Health.UNKNOWN
        process, self.process = self.process, None
        if self._probe is not None:
            self._probe.drop()
        if process is not None:
            process.kill()
            process.wait(END_SECONDS)

    def kill(self) -> None:
        """End the process as a crash does; the restart policy applies."""
        if self.process is not None:
            self._say(self.name, "is killed with SIGKILL")
            self.process.kill()

    def run(self, command: list[str], *, timeout_seconds: float) -> str:
        """Run a command in the service and return what it prints; raises `CheckFailed` if it does not end well."""
        if self.process is None:
            raise CheckFailed(f"{self.name} does not run")
        started = self.process.start_inside(command, output=subprocess.PIPE)
        try:
            output = started.communicate(timeout=timeout_seconds)[0].decode()
        except subprocess.TimeoutExpired:
            raise CheckFailed(f"in {self.name}, {command} did not end in {timeout_seconds:g} s") from None
        finally:
            end_group(started)
        if started.returncode != 0:
            raise CheckFailed(f"in {self.name}, {command} ended with {started.returncode}:\n{output}")
        return output

    def _note_end(self, code: int, now: float) -> None:
        self.process, self.exit_code, self.health = None, code, Health.UNKNOWN
        if self._probe is not None:
            self._probe.drop()
        if not self._is_to_restart(code):
            self._say(self.name, f"has ended with {code}")
            return
        if now - self._started_at >= GOOD_RUN_SECONDS:
            self._pause = FIRST_RESTART_SECONDS
        self.may_start_at = now + self._pause
        self._say(self.name, f"has ended with {code}; starts again in {self._pause:g} s ({self.service.restart})")
        self._pause = min(self._pause * 2, LONGEST_RESTART_SECONDS)

    def _is_to_restart(self, code: int) -> bool:
        policy, _, most = self.service.restart.partition(":")
        match policy:
            case "no":
                return False
            case "always" | "unless-stopped":
                return True
            case "on-failure":
                return code != 0 and (not most or self.starts <= int(most))
            case _:
                raise CheckFailed(f"{self.name}: restart: {self.service.restart}")

    def _specify(self) -> Specification:
        image, service = self.image, self.service
        hostname = new_hostname()
        visible = list(SYSTEM_FOLDERS)
        for path in map(str, image.visible):
            if not any(path == seen or path.startswith(f"{seen}/") for seen in visible):
                visible.append(path)
        return Specification(
            root=str(make_empty_folder(self.folder / "root")),
            visible=visible,
            mounts=[*((str(source), target, True) for source, target in image.mounts), *self._volumes()],
            tmpfs=service.tmpfs,
            read_only=service.read_only,
            hostname=hostname,
            arguments=[*image.entry, *(service.command or image.command), *image.options],
            environment={"HOME": "/", "HOSTNAME": hostname, **image.environment, **service.environment},
            working_folder=image.working_folder,
            user_id=image.user_id,
            group_id=image.group_id,
            init=service.init,
            no_new_privileges="no-new-privileges:true" in service.security_opt,
        )

    def _volumes(self) -> list[tuple[str, str, bool]]:
        found = []
        for text in self.service.volumes:
            name, target = text.split(":")
            folder = make_empty_folder(self.folder.parent / "volumes" / name)
            os.chown(folder, self.image.user_id, self.image.group_id)
            folder.chmod(0o700)
            found.append((str(folder), target, False))
        return found


class Probe:
    """The health check of one start of a service, as Docker runs it."""

    def __init__(self, check: HealthCheck, *, started_at: float, log_path: Path) -> None:
        self._check = check
        self._started_at = started_at
        self._log_path = log_path
        self._failures = 0
        self._command: subprocess.Popen[bytes] | None = None
        self._since = started_at
        """When the running command was started, or the last one ended."""

    def look(self, process: ServiceProcess, health: Health, now: float) -> Health:
        """Start the next check when it is due, judge the one that runs, and return the health."""
        is_first_time = health is Health.STARTING and now - self._started_at < self._check.start_period
        if self._command is None:
            pause = self._check.start_interval if is_first_time else self._check.interval
            if now - self._since >= pause:
                with self._log_path.open("ab") as log:
                    self._command = process.start_inside(self._check.command, output=log)
                self._since = now
            return health
        code = self._command.poll()
        if code is None and now - self._since < self._check.timeout:
            return health
        end_group(self._command)
        self._command, self._since = None, now
        if code == 0:
            self._failures = 0
            return Health.HEALTHY
        if not is_first_time:
            self._failures += 1
        return Health.UNHEALTHY if self._failures >= self._check.retries else health

    def drop(self) -> None:
        """End a check that runs; its service is gone."""
        if self._command is not None:
            end_group(self._command)
            self._command = None

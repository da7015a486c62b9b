"""What strikes a running installation: kills of processes and servers, and a network that falls silent or is cut."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from tests.proof.proxy import Proxy
from tests.proof.servers import BrokerPlace, DatabasePlace
from tests.proof.workers import Supervised, kill_child, kill_sweeper
from tests.support.worker import ROOT

SILENCE_SECONDS: Final = 2.0
AWAY_SECONDS: Final = 1.0


@dataclass(slots=True, kw_only=True)
class Scene:
    """What can be struck.

    Attributes:
        enqueuer: the command that asks for the runs.
        environment: of that command.
        strikes: what was struck how often.
    """

    broker: BrokerPlace
    database: DatabasePlace
    workers: Supervised
    enqueuer: list[str]
    environment: Mapping[str, str]
    chance: random.Random
    strikes: Counter[str] = field(default_factory=Counter)
    enqueuing: subprocess.Popen[bytes] | None = None

    def start_enqueuer(self) -> None:
        """Start to ask for the runs, from the first on."""
        words = [sys.executable, "-m", *self.enqueuer]
        self.enqueuing = subprocess.Popen(words, cwd=ROOT, env={**os.environ, **self.environment})

    def strike(self) -> None:
        """Let something strike, chosen by chance; then let the supervisor look after the workers."""
        name = self.chance.choices(list(DISASTERS), [weight for weight, _ in DISASTERS.values()])[0]
        _, disaster = DISASTERS[name]
        self.strikes[name] += disaster(self)
        self.workers.look_after()


def _kill_child(scene: Scene) -> bool:
    return kill_child(scene.chance.choice(scene.workers.workers), scene.chance)


def _kill_worker(scene: Scene) -> bool:
    scene.chance.choice(scene.workers.workers).kill()
    return True


def _kill_sweeper(scene: Scene) -> bool:
    return kill_sweeper(scene.chance.choice(scene.workers.workers), scene.chance)


def _stop_worker(number: signal.Signals) -> Callable[[Scene], bool]:
    def stop(scene: Scene) -> bool:
        worker = scene.chance.choice(scene.workers.workers)
        if worker.has_ended:
            return False
        worker.send(number)
        return True

    return stop


def _freeze_worker(scene: Scene) -> bool:
    """Let a whole worker stand still for longer than its lease, as a machine that swaps; then it goes on."""
    worker = scene.chance.choice(scene.workers.workers)
    if worker.has_ended:
        return False
    os.killpg(worker.process.pid, signal.SIGSTOP)
    time.sleep(SILENCE_SECONDS * 4)
    os.killpg(worker.process.pid, signal.SIGCONT)
    return True


def _kill_broker(scene: Scene) -> bool:
    scene.broker.server.kill()
    time.sleep(AWAY_SECONDS)
    scene.broker.server.restart()
    return True


def _flush_broker(scene: Scene) -> bool:
    scene.broker.server.flush()
    return True


def _kill_database(scene: Scene) -> bool:
    if scene.database.server is None:
        return False
    scene.database.server.kill()
    time.sleep(AWAY_SECONDS)
    scene.database.server.restart()
    return True


def _cut(proxy: Proxy | None) -> bool:
    if proxy is None:
        return False
    proxy.fall_silent()
    time.sleep(SILENCE_SECONDS)
    proxy.cut()
    return True


def _kill_enqueuer(scene: Scene) -> bool:
    if scene.enqueuing is None or scene.enqueuing.poll() is not None:
        return False
    scene.enqueuing.kill()
    scene.enqueuing.wait()
    scene.start_enqueuer()
    return True


DISASTERS: Final[Mapping[str, tuple[float, Callable[[Scene], bool]]]] = {
    "child killed": (40, _kill_child),
    "worker killed": (8, _kill_worker),
    "sweeper killed": (4, _kill_sweeper),
    "worker stopped": (3, _stop_worker(signal.SIGTERM)),
    "worker stopped cold": (3, _stop_worker(signal.SIGQUIT)),
    "worker frozen": (2, _freeze_worker),
    "broker killed": (2, _kill_broker),
    "broker flushed": (2, _flush_broker),
    "database killed": (2, _kill_database),
    "broker cut off": (2, lambda scene: _cut(scene.broker.proxy)),
    "database cut off": (2, lambda scene: _cut(scene.database.proxy)),
    "enqueuer killed": (2, _kill_enqueuer),
}
"""Name to weight and deed; a deed returns whether there was something to strike."""

"""The compose file works: run as it is, with processes of this machine in the place of containers."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from backout.testing.servers.guardian import children_of
from tests.compose.images import ROOT
from tests.compose.place import find_obstacle
from tests.support.processes import is_running
from tests.support.waiting import wait_until

CHECK = [sys.executable, "-m", "tests.compose"]
WHOLE_CHECK_SECONDS = 900.0
SHORT_CHECK_SECONDS = 30.0


@pytest.fixture(scope="module", autouse=True)
def place() -> None:
    """Linux and root; without them the tests are skipped at home, and fail in CI."""
    if obstacle := find_obstacle():
        if os.environ.get("CI"):
            pytest.fail(obstacle, pytrace=False)
        pytest.skip(obstacle)


@pytest.fixture
def broken_file(tmp_path: Path) -> Path:
    """A compose file whose migration fails, while Redis and PostgreSQL run."""
    document = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    document["services"]["migrate"]["command"] = ["sh", "-c", "echo no such table; exit 3"]
    (tmp_path / "compose.yml").write_text(yaml.safe_dump(document))
    return tmp_path / "compose.yml"


@pytest.fixture
def waiting_file(tmp_path: Path) -> Path:
    """A compose file whose migration does not come to an end, and does not heed SIGTERM either."""
    document = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    document["services"]["migrate"]["command"] = ["sh", "-c", "trap '' TERM; sleep 1000"]
    (tmp_path / "compose.yml").write_text(yaml.safe_dump(document))
    return tmp_path / "compose.yml"


def test_shop_takes_orders_and_survives_the_deaths_of_worker_and_broker() -> None:
    """All services become healthy, orders are fulfilled or rolled back and seen in Flower, and restarts repair."""
    done = subprocess.run(CHECK, cwd=ROOT, capture_output=True, text=True, timeout=WHOLE_CHECK_SECONDS, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_service_that_fails_is_named_with_its_log(broken_file: Path, tmp_path: Path) -> None:
    """Who runs the check reads which service failed, and what it printed last."""
    done = subprocess.run(
        [*CHECK, "--file", str(broken_file)],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=WHOLE_CHECK_SECONDS,
        check=False,
    )
    assert done.returncode == 1
    assert "migrate has ended with 3" in done.stderr
    assert "no such table" in done.stderr
    [folder] = tmp_path.glob("backout-compose-*")
    assert {path.suffix for path in folder.iterdir()} <= {".log", ""}
    assert (folder / "migrate.log").read_text() == "no such table\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_when_the_check_is_ended(number: signal.Signals, waiting_file: Path, tmp_path: Path) -> None:
    """Ctrl-C, SIGTERM and even SIGKILL end all services at once."""
    check = subprocess.Popen(
        [*CHECK, "--file", str(waiting_file)],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert check.stdout is not None
    with check.stdout:
        assert any("migrate   starts" in line for line in check.stdout)
        services = list(descendants(check.pid))
        assert len(services) > 5
        check.send_signal(number)
        check.wait(SHORT_CHECK_SECONDS)
        wait_until(lambda: not any(map(is_running, services)), SHORT_CHECK_SECONDS, "all services are gone")
    assert not list(tmp_path.glob("backout-compose-*"))


def descendants(pid: int) -> Iterator[int]:
    for child in children_of(pid):
        yield child
        yield from descendants(child)

"""Run docker-compose.yml, unmodified, as processes of this machine: `python -m tests.compose`.

Each service runs in namespaces of its own, with its real name, port, user, environment, volumes, health check and
restart policy. Then an order is placed through the web service, seen in Flower, and so on (`scenario`).
"""

from __future__ import annotations

import argparse
import secrets
import shutil
import sys
import tempfile
import time
from collections import deque
from pathlib import Path
from typing import Final

from tests.compose.failure import CheckFailed
from tests.compose.images import ROOT
from tests.compose.interpolation import read_environment_file
from tests.compose.model import read_compose_file
from tests.compose.place import end_with_owner, find_obstacle, furnish, run_apart
from tests.compose.scenario import Scenario
from tests.compose.supervisor import Supervisor

UP_SECONDS: Final = 180.0
SHOWN_LINES: Final = 40
STARTED_AT: Final = time.monotonic()


def main() -> int:
    """Check from outside, or be the inside of it."""
    parser = argparse.ArgumentParser(prog="compose-check", description=__doc__)
    parser.add_argument("--file", type=Path, default=ROOT / "docker-compose.yml", help="another compose file")
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    return check_inside(given.file, given.inside) if given.inside else check(given.file)


def check(file: Path) -> int:
    """Run the check in a place of its own and leave nothing behind, except the logs when it fails."""
    if obstacle := find_obstacle():
        print(f"compose-check: {obstacle}", file=sys.stderr)
        return 2
    folder = Path(tempfile.mkdtemp(prefix="backout-compose-"))
    code = 1
    try:
        code = run_apart("tests.compose", ["--file", str(file.resolve()), "--inside", str(folder)])
    except KeyboardInterrupt:
        code = 130
    finally:
        if code == 1:
            keep_logs(folder)
        else:
            shutil.rmtree(folder, ignore_errors=True)
    return code


def keep_logs(folder: Path) -> None:
    """Remove all but the logs."""
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
    print(f"compose-check: the logs are in {folder}", file=sys.stderr)


def check_inside(file: Path, folder: Path) -> int:
    """Start everything, go through the scenario, stop everything."""
    end_with_owner()
    folder.chmod(0o755)
    try:
        variables = make_variables(ROOT / ".env.example")
        compose = read_compose_file(file, variables)
        furnish(compose.services, folder=folder)
        with Supervisor(compose, folder=folder, say=say) as supervisor:
            supervisor.wait_until_up(timeout_seconds=UP_SECONDS)
            say("all", "up")
            Scenario(supervisor, say=say).run()
            supervisor.stop()
    except CheckFailed as failure:
        show_logs(folder)
        print(f"\ncompose-check: {failure}", file=sys.stderr)
        return 1
    except Exception:
        # A page that is an error, a database that does not answer: the logs say why.
        show_logs(folder)
        raise
    except KeyboardInterrupt:
        # Here, because whoever would do it outside may have been killed.
        shutil.rmtree(folder, ignore_errors=True)
        return 130
    say("all", "went well")
    return 0


def make_variables(example: Path) -> dict[str, str]:
    """Return what a reader of the example file has after filling it in."""
    given = read_environment_file(example)
    return {name: value or secrets.token_hex(24) for name, value in given.items()}


def show_logs(folder: Path) -> None:
    """Print the end of each service's log."""
    for path in sorted(folder.glob("*.log")):
        print(f"\n--- {path.stem}: the last {SHOWN_LINES} lines", file=sys.stderr)
        with path.open(errors="replace") as log:
            sys.stderr.writelines(deque(log, maxlen=SHOWN_LINES))


def say(who: str, what: str) -> None:
    """Print one line of progress."""
    print(f"{time.monotonic() - STARTED_AT:6.1f} s  {who:<9} {what}", flush=True)


if __name__ == "__main__":
    sys.exit(main())

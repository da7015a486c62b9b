"""docs/howto/deploy.md says what is true of the compose file."""

import re
import shutil
import stat
import subprocess
from pathlib import Path

from tests.compose.__main__ import make_variables
from tests.compose.images import ROOT
from tests.compose.interpolation import read_environment_file
from tests.compose.model import read_compose_file

PAGE = (ROOT / "docs/howto/deploy.md").read_text()
EXAMPLE = ROOT / ".env.example"


def test_first_command_makes_fresh_secrets_for_its_owner_alone(tmp_path: Path) -> None:
    """Who copies the command has a `.env` with which the compose file is complete."""
    command = re.search(r"^\$ (\(umask.*)$", PAGE, re.MULTILINE)
    assert command is not None
    shutil.copy(EXAMPLE, tmp_path)
    subprocess.run(["sh", "-c", command[1]], cwd=tmp_path, check=True)
    made = read_environment_file(tmp_path / ".env")
    assert made.keys() == read_environment_file(EXAMPLE).keys()
    assert len(set(made.values())) == len(made)
    assert all(re.fullmatch("[0-9a-f]{48}", value) for value in made.values())
    assert stat.S_IMODE((tmp_path / ".env").stat().st_mode) == 0o600
    read_compose_file(ROOT / "docker-compose.yml", made)


def test_example_file_says_the_same_command() -> None:
    """The command is the same wherever it is read."""
    assert re.findall(r"\(umask.*\)", EXAMPLE.read_text()) == re.findall(r"\(umask.*\)", PAGE)


def test_every_service_is_explained_and_no_other() -> None:
    """The page lists the services that there are, and commands name no other."""
    services = set(read_compose_file(ROOT / "docker-compose.yml", make_variables(EXAMPLE)).services)
    assert set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)) == services
    assert set(re.findall(r"docker compose (?:exec|run --rm) (\w+)", PAGE)) <= services


def test_grace_period_of_the_page_is_the_one_of_the_file() -> None:
    """The number is the file's."""
    worker = read_compose_file(ROOT / "docker-compose.yml", make_variables(EXAMPLE)).services["worker"]
    assert f"The worker has {worker.stop_grace_period:g} seconds to end" in PAGE

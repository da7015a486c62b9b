"""What the compose file, the Dockerfile and the example of a `.env` promise, as far as it can be read from them."""

import ast
import re
from pathlib import Path

import pytest
import yaml

from tests.compose.__main__ import make_variables
from tests.compose.failure import CheckFailed
from tests.compose.images import ROOT, read_dockerfile
from tests.compose.interpolation import read_environment_file
from tests.compose.model import ComposeFile, read_compose_file

FILE = ROOT / "docker-compose.yml"
EXAMPLE = ROOT / ".env.example"


@pytest.fixture(scope="module")
def compose() -> ComposeFile:
    return read_compose_file(FILE, make_variables(EXAMPLE))


def test_only_this_machine_reaches_the_published_ports(compose: ComposeFile) -> None:
    """What the world sees is the proxy in front."""
    ports = [port for service in compose.services.values() for port in service.ports]
    assert len(ports) == 2
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_everything_but_the_migration_is_started_again_and_watched(compose: ComposeFile) -> None:
    """A process that ends comes back by itself; Celery's worker can end when Redis goes away."""
    lasting = {name: service for name, service in compose.services.items() if name != "migrate"}
    assert {service.restart for service in lasting.values()} == {"unless-stopped"}
    assert all(service.healthcheck for service in lasting.values())
    assert compose.services["migrate"].restart == "no"


@pytest.mark.parametrize("name", sorted(read_environment_file(EXAMPLE)))
def test_secret_without_a_value_is_refused_with_the_remedy(name: str) -> None:
    """Nothing starts with an empty password or key."""
    variables = make_variables(EXAMPLE) | {name: ""}
    with pytest.raises(CheckFailed, match=rf"{name} .*\.env\.example"):
        read_compose_file(FILE, variables)


def test_files_hold_no_secret() -> None:
    """Each secret comes from the environment: empty in the example, and without a default in the compose file."""
    assert set(read_environment_file(EXAMPLE).values()) == {""}
    text = FILE.read_text()
    named = re.findall(r"\$\{(\w*(?:PASSWORD|SECRET|TOKEN|KEY)\w*)([^}]*)\}", text)
    assert {name for name, _ in named} == set(read_environment_file(EXAMPLE))
    assert all(rest.startswith(":?") for _, rest in named)


def test_variables_that_may_be_changed_are_shown_with_their_defaults() -> None:
    """Every variable of the compose file is in the example."""
    used = set(re.findall(r"\$\{(\w+)", FILE.read_text()))
    assert used == set(re.findall(r"^(?:# )?([A-Z_]+)=", EXAMPLE.read_text(), re.MULTILINE))


def test_env_file_is_kept_out_of_history_and_image() -> None:
    """A `.env` is neither committed nor sent to the builder of the image."""
    assert "/.env" in (ROOT / ".gitignore").read_text().splitlines()
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    # Everything is left out that is not named; and what is named must not bring one along.
    assert "*" in ignored
    assert "**/.env*" in ignored


def test_worker_may_finish_its_longest_step_before_it_is_killed(compose: ComposeFile) -> None:
    """The grace period is longer than the timeout of any step, with time to spare."""
    tree = ast.parse((ROOT / "examples/django_shop/orders/pipelines.py").read_text())
    words = (word for call in ast.walk(tree) if isinstance(call, ast.Call) for word in call.keywords)
    timeouts = [ast.literal_eval(word.value) for word in words if word.arg == "timeout"]
    assert timeouts
    assert max(timeouts) + 30 <= compose.services["worker"].stop_grace_period


def test_image_runs_the_web_server_as_compose_does(compose: ComposeFile) -> None:
    """Who starts the image without compose gets the same server, and no root."""
    image = read_dockerfile(ROOT / "Dockerfile")
    assert image.user_id == image.group_id >= 10_000
    assert set(image.command) <= set(compose.services["web"].command)


def test_password_of_flower_and_database_reach_who_needs_them_only(compose: ComposeFile) -> None:
    """A service gets the secrets that it uses and no other."""
    names = {name for name, service in compose.services.items() if "FLOWER_BASIC_AUTH" in service.environment}
    assert names == {"flower"}
    assert not compose.services["redis"].environment


def test_keys_that_the_check_does_not_know_are_refused(tmp_path: Path) -> None:
    """What is not understood is not passed over in silence."""
    document = yaml.safe_load(FILE.read_text())
    document["services"]["redis"]["cpus"] = 2
    (tmp_path / "compose.yml").write_text(yaml.safe_dump(document))
    with pytest.raises(CheckFailed, match="cpus"):
        read_compose_file(tmp_path / "compose.yml", make_variables(EXAMPLE))

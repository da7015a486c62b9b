"""The parts of a compose file that the check understands; a key that is not here is refused, not ignored."""

import re
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from tests.compose.failure import CheckFailed
from tests.compose.interpolation import interpolate

UNIT_SECONDS: Final = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def read_seconds(text: object) -> float:
    """Return the seconds of a duration such as `1m30s`."""
    parts = re.findall(r"(\d+(?:\.\d+)?)(us|ms|s|m|h)", str(text))
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(f"{text!r} is no duration")
    return sum(float(number) * UNIT_SECONDS[unit] for number, unit in parts)


def read_environment(given: object) -> object:
    """Return an environment as a mapping, also when it is written as a list."""
    if isinstance(given, list):
        return dict(str(item).split("=", 1) for item in given)
    return {name: str(value) for name, value in given.items()} if isinstance(given, dict) else given


def read_dependencies(given: object) -> object:
    """Return dependencies as a mapping, also when they are written as a list of names."""
    return {name: {} for name in given} if isinstance(given, list) else given


Seconds = Annotated[float, BeforeValidator(read_seconds)]


class Condition(StrEnum):
    """What a service waits for before it starts."""

    STARTED = "service_started"
    HEALTHY = "service_healthy"
    COMPLETED = "service_completed_successfully"


class Part(BaseModel):
    """A part of the file; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Dependency(Part):
    """One service that another one waits for."""

    condition: Condition = Condition.STARTED


class HealthCheck(Part):
    """How a service is asked whether it works; the defaults are Docker's."""

    test: list[str]
    interval: Seconds = 30.0
    timeout: Seconds = 30.0
    retries: int = 3
    start_period: Seconds = 0.0
    start_interval: Seconds = 5.0

    @property
    def command(self) -> list[str]:
        """Return the command that is run in the service."""
        kind, *words = self.test
        match kind:
            case "CMD":
                return words
            case "CMD-SHELL":
                return ["/bin/sh", "-c", *words]
            case _:
                raise CheckFailed(f"a health check of the kind {kind!r}")


class Service(Part):
    """One service."""

    command: list[str] = []
    environment: Annotated[dict[str, str], BeforeValidator(read_environment)] = {}
    restart: str = "no"
    depends_on: Annotated[dict[str, Dependency], BeforeValidator(read_dependencies)] = {}
    healthcheck: HealthCheck | None = None
    init: bool = False
    read_only: bool = False
    stop_grace_period: Seconds = 10.0
    tmpfs: list[str] = []
    volumes: list[str] = []
    security_opt: list[str] = []
    image: str
    build: str | None = None
    # For processes without a meaning: they share one network, and who is not root has no capabilities.
    ports: list[str] = []
    cap_drop: list[str] = []


class ComposeFile(Part):
    """The whole file."""

    name: str
    services: dict[str, Service]
    volumes: dict[str, None] = {}


def read_compose_file(path: Path, variables: Mapping[str, str]) -> ComposeFile:
    """Return the file with the variables filled in.

    Raises:
        CheckFailed: a variable is missing, or the file asks for something that the check does not understand.
    """
    document = yaml.safe_load(path.read_text())
    own = {key: value for key, value in document.items() if not key.startswith("x-")}
    try:
        return ComposeFile.model_validate(interpolate(own, variables))
    except ValidationError as error:
        raise CheckFailed(
            f"{path.name} has what this check does not understand; teach it or leave it out: {error}"
        ) from None

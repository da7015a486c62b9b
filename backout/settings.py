"""All settings, read once from Celery's configuration and frozen."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Final, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from backout.errors import ConfigurationError

PREFIX: Final = "backout_"


class Settings(BaseModel):
    """What `backout_*` in Celery's configuration may say. All durations are seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    database_url: str = Field(min_length=1, repr=False)
    """Where the ledger is, an SQLAlchemy URL. So named because Celery masks settings with DATABASE in their name."""
    lease_seconds: float = Field(default=60.0, gt=0.5)
    """How long a claim holds without a heartbeat; a killed worker's step is taken up again after this time."""
    resend_seconds: float = Field(default=60.0, gt=0)
    """How long the sweeper waits before it sends a message again that nobody took up; doubles at each resend.

    Short values make a storm: 2 s made 516 useless deliveries for 300 steps.
    """
    countdown_limit_seconds: float = Field(default=60.0, ge=0)
    """Retry delays up to this are sent at once with a countdown; longer ones wait in the ledger for the sweeper.

    On quorum queues all of them do: a countdown would block their consumer.
    """
    burst_seconds: float = Field(default=1.0, ge=0, le=15)
    """How long a worker goes on with the next step at once instead of sending a message for it; 0: it never does.

    A step that has begun is not cut short. Longer bursts hold other pipelines' messages up, and save nothing more.
    """
    sweep_interval_seconds: float = Field(default=5.0, gt=0)
    """The pause between two looks of the sweeper."""
    sweep_batch: int = Field(default=200, ge=1, le=10_000)
    """How many rows the sweeper takes in one look: with the interval, the cap on resends per second."""
    sweeper: bool = True
    """Start a sweeper process beside each worker. Turn it off where `celery -A proj backout sweep` is a service."""
    app: str | None = None
    """How the sweeper imports the Celery app (`proj` or `proj.celery:app`), where the worker's `-A` cannot be seen."""
    chain_links: int = Field(default=50, ge=1, le=100)
    """The most compensations in one Celery chain; the last one continues with a new chain."""
    lost_attempts_limit: int = Field(default=3, ge=1)
    """After this many attempts that ended without an answer a person is asked instead of trying again."""
    max_payload_bytes: int = Field(default=1_048_576, ge=1_024)
    """The largest input of a run and the largest output of a step, as JSON text."""

    @classmethod
    def from_mapping(cls, values: Mapping[str, object]) -> Self:
        """Read the settings from a mapping whose keys start with `backout_`; other keys are ignored.

        Raises:
            ConfigurationError: a setting is unknown or has a value that cannot be used; nothing was started.
        """
        own = {key[len(PREFIX) :]: value for key, value in values.items() if key.startswith(PREFIX)}
        try:
            return cls.model_validate(own)
        except ValidationError as error:
            raise ConfigurationError(problem=_describe(error), remedy=_remedy(error)) from error


def _describe(error: ValidationError) -> str:
    lines = [f"`{PREFIX}{'.'.join(map(str, item['loc']))}`: {item['msg']}" for item in error.errors()]
    return "the Celery configuration has settings that backout cannot use: " + "; ".join(lines)


def _remedy(error: ValidationError) -> str:
    # A misspelt name first: it is often why another one is missing.
    for item in sorted(error.errors(), key=lambda item: item["type"] != "extra_forbidden"):
        name = str(item["loc"][0])
        if item["type"] == "extra_forbidden":
            close = difflib.get_close_matches(name, Settings.model_fields, n=1)
            return f"did you mean `{PREFIX}{close[0]}`?" if close else "remove the setting"
        if item["type"] == "missing":
            return (
                f'set `{PREFIX}{name}` in the Celery configuration, for example to "postgresql+psycopg://…", '
                "or call `backout.install(app, database_url=…)`"
            )
    return "correct the setting; its meaning and default are in `backout.settings.Settings`"

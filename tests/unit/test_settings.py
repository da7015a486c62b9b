"""Settings: read from Celery's configuration, with defaults, and refused with the name of the right one."""

from __future__ import annotations

import traceback
from typing import Any

import pytest
from pydantic import ValidationError

from backout.errors import ConfigurationError
from backout.settings import PREFIX, Settings

URL = "postgresql+psycopg://shop:s3cret@db.internal/shop"


def read(**values: Any) -> Settings:
    return Settings.from_mapping({"backout_database_url": URL, **values})


def test_the_url_is_enough() -> None:
    """Everything else has a default that can be deployed."""
    settings = Settings.from_mapping({"backout_database_url": URL})
    assert settings.database_url == URL
    assert (settings.lease_seconds, settings.resend_seconds, settings.sweeper) == (60, 60, True)


def test_settings_of_others_are_not_ours() -> None:
    """Celery's own settings and the application's are passed over."""
    assert read(broker_url="redis://x", task_acks_late=True, backoutx="y") == read()


def test_they_cannot_be_changed_later() -> None:
    """What was checked at the start is what is used."""
    with pytest.raises(ValidationError, match="frozen"):
        read().lease_seconds = 5


def test_the_url_is_not_in_the_text_of_the_settings() -> None:
    """Whoever logs the settings logs no password."""
    assert "s3cret" not in f"{read()!r} {read()}"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("lease_seconds", 0.5),
        ("lease_seconds", "soon"),
        ("resend_seconds", 0),
        ("countdown_limit_seconds", -1),
        ("sweep_interval_seconds", 0),
        ("sweep_batch", 0),
        ("sweep_batch", 10_001),
        ("sweeper", "perhaps"),
        ("chain_links", 0),
        ("chain_links", 101),
        ("lost_attempts_limit", 0),
        ("max_payload_bytes", 100),
        ("database_url", ""),
        ("database_url", None),
    ],
)
def test_a_value_that_cannot_be_used_is_named(name: str, value: object) -> None:
    """Nothing is started; the message has the setting's full name."""
    with pytest.raises(ConfigurationError, match=f"`{PREFIX}{name}`"):
        read(**{f"{PREFIX}{name}": value})


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("lease_second", "lease_seconds"), ("sweep_intervall_seconds", "sweep_interval_seconds")],
)
def test_an_unknown_setting_is_refused_with_the_one_that_was_meant(typed: str, meant: str) -> None:
    """A setting that is ignored because of a letter would be believed to work."""
    with pytest.raises(ConfigurationError) as caught:
        read(**{f"{PREFIX}{typed}": 1})
    assert f"`{PREFIX}{typed}`" in caught.value.problem
    assert caught.value.remedy == f"did you mean `{PREFIX}{meant}`?"


def test_an_unknown_setting_that_is_like_none_is_to_be_removed() -> None:
    """There is always something to do."""
    with pytest.raises(ConfigurationError, match="remove the setting"):
        read(backout_qqq=1)


def test_a_missing_url_is_told_with_an_example() -> None:
    """The first thing that everybody meets says both ways to set it."""
    with pytest.raises(ConfigurationError) as caught:
        Settings.from_mapping({})
    assert "backout_database_url" in str(caught.value)
    assert "backout.install(app, database_url=…)" in caught.value.remedy


def test_all_problems_are_told_at_once() -> None:
    """Nobody deploys five times for five mistakes."""
    with pytest.raises(ConfigurationError) as caught:
        read(backout_sweep_batch=0, backout_chain_links=0)
    assert "backout_sweep_batch" in caught.value.problem
    assert "backout_chain_links" in caught.value.problem


def test_no_password_is_in_the_traceback() -> None:
    """A mistyped name must not print the value that was meant to be secret."""
    with pytest.raises(ConfigurationError) as caught:
        Settings.from_mapping({"backout_database_ur": URL})
    assert "s3cret" not in "".join(traceback.format_exception(caught.value))

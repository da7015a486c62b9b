"""The parts of the server launchers that need no server."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from backout.testing.servers import ServerUnavailable, valkey
from backout.testing.servers.postgres import folder_version
from backout.testing.servers.programs import ServerSource, read_program
from tests.support.servers import started


@pytest.mark.parametrize(
    ("celery_url", "client_url"),
    [
        ("redis://localhost:6379/1", "redis://localhost:6379/1"),
        ("redis+socket:///tmp/socket", "unix:///tmp/socket"),
        ("redis+socket:///tmp/socket?virtual_host=2", "unix:///tmp/socket?db=2"),
    ],
)
def test_broker_url_is_accepted_in_both_spellings(celery_url: str, client_url: str) -> None:
    """Whichever library's URL the environment gives, both libraries get theirs."""
    assert valkey.spell_for_both(celery_url) == (celery_url, client_url)
    assert valkey.spell_for_both(client_url) == (celery_url, client_url)


@pytest.mark.parametrize(
    ("answer", "label"),
    [
        ("Valkey server v=9.1.2 sha=00000000:1 malloc=jemalloc-5.3.0 bits=64 build=1", "Valkey 9.1.2 (binary)"),
        ("Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.2.1 bits=64 build=1", "Redis 7.0.15 (binary)"),
        ("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)", "PostgreSQL 15.18 (binary)"),
        ("postgres (PostgreSQL) 18beta2", "PostgreSQL 18 (binary)"),
    ],
)
def test_program_is_named_as_it_names_itself(answer: str, label: str, tmp_path: Path) -> None:
    """A Valkey installed under Redis's name is called Valkey, and the other way round."""
    path = tmp_path / "redis-server"
    path.write_text(f"#!/bin/sh\necho '{answer}'\n")
    path.chmod(0o755)
    program = read_program(path, source=ServerSource.MACHINE)
    assert program is not None
    assert program.label == label


def test_program_that_does_not_start_is_passed_over(tmp_path: Path) -> None:
    """A file built for another system is no server here."""
    path = tmp_path / "valkey-server"
    path.write_bytes(b"\x7fELF for another system")
    path.chmod(0o755)
    assert read_program(path, source=ServerSource.WHEEL) is None


def test_newest_installation_comes_first() -> None:
    """Versions are compared as numbers."""
    folders = [Path(f"/usr/lib/postgresql/{version}/bin") for version in ("9.6", "18", "15")]
    assert [folder.parent.name for folder in sorted(folders, key=folder_version, reverse=True)] == ["18", "15", "9.6"]


@contextmanager
def start_nothing() -> Iterator[None]:
    raise ServerUnavailable(problem="there is none", remedy="Install one.")
    yield


def test_missing_server_skips_at_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """A contributor without the server sees which tests did not run, and why."""
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="there is none"), started(start_nothing()):
        pass


def test_missing_server_fails_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    """In CI a missing server must not look like a success."""
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="there is none"), started(start_nothing()):
        pass

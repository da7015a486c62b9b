"""The parts of the server launchers that need no server."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from backout.testing.servers import ServerUnavailable, rabbitmq, valkey
from backout.testing.servers.postgres import folder_version
from backout.testing.servers.programs import ServerSource, read_program
from backout.testing.servers.rabbitmq import read_installation
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
        (
            "mariadbd  Ver 10.11.19-MariaDB-0+deb12u1 for debian-linux-gnu on x86_64 (Debian 12)",
            "MariaDB 10.11.19 (binary)",
        ),
        ("mysqld  Ver 8.4.6 for Linux on x86_64 (MySQL Community Server - GPL)", "MySQL 8.4.6 (binary)"),
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


def make_installation(folder: Path, *, version: str) -> Path:
    """Make the files of a RabbitMQ by which it is recognised, and return the folder of its programs."""
    programs = folder / "sbin"
    programs.mkdir()
    (programs / "rabbitmq-server").touch(mode=0o755)
    (folder / "plugins" / f"rabbit-{version}").mkdir(parents=True)
    (folder / "plugins" / "rabbit_common-9.9.9").mkdir()
    return programs


def test_rabbitmq_is_known_by_its_files(tmp_path: Path) -> None:
    """The version of RabbitMQ is found without starting it."""
    program = read_installation(make_installation(tmp_path, version="4.1.2"))
    assert program is not None
    assert program.label == "RabbitMQ 4.1.2 (binary)"


def test_rabbitmq_wrapper_is_passed_over(tmp_path: Path) -> None:
    """A wrapper that changes to an account of its own, as Debian's, is not taken for the server."""
    programs = make_installation(tmp_path, version="3.10.8")
    (programs / "rabbitmq-server").rename(programs / "rabbitmq-script-wrapper")
    (programs / "rabbitmq-server").symlink_to("rabbitmq-script-wrapper")
    assert read_installation(programs) is None


def test_machine_without_rabbitmq_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any RabbitMQ, the error says how to get one."""
    monkeypatch.setattr(rabbitmq, "INSTALLATION_FOLDERS", ())
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ServerUnavailable, match="rabbitmq-server"):
        rabbitmq.find_program((ServerSource.MACHINE,), account=None)

"""Whether a process is certainly gone: yes only where the kernel of the same machine says so."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from backout.tasks.process import is_gone, this_process
from tests.support.waiting import wait_until

NAMING = "from backout.tasks.process import this_process; print(this_process(), flush=True); input()"

pytestmark = pytest.mark.skipif(this_process() is None, reason="this system names no processes")


@contextmanager
def another_process() -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Run a process that says its name."""
    process = subprocess.Popen(
        [sys.executable, "-c", NAMING], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ
    )
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip(), process
    finally:
        process.kill()
        process.communicate()


def test_process_that_lives_is_not_gone() -> None:
    """Neither this one nor another one."""
    with another_process() as (name, _):
        assert not is_gone(name)
    assert not is_gone(this_process())


def test_process_that_was_killed_and_collected_is_gone() -> None:
    """Nobody has its number any more, or somebody else has."""
    with another_process() as (name, process):
        process.kill()
        process.wait()
        assert is_gone(name)


def test_zombie_is_gone() -> None:
    """It runs nothing any more, although its parent has not collected it yet."""
    with another_process() as (name, process):
        process.kill()
        wait_until(lambda: is_gone(name), 10, "the kernel has ended it")
        assert process.returncode is None


def test_number_that_another_process_got_is_no_proof_of_life() -> None:
    """The start time tells them apart."""
    name = this_process() or ""
    assert is_gone(f"{name.rpartition('/')[0]}/1")


@pytest.mark.parametrize(
    "name",
    [None, "", "another-boot/pid:[1]/1/1", "no name at all"],
    ids=["unknown", "empty", "another machine", "garbage"],
)
def test_where_nobody_can_tell_it_is_not_taken_for_gone(name: str | None) -> None:
    """R5: a process on another machine may well be alive."""
    assert not is_gone(name)


def test_each_process_has_a_name_of_its_own() -> None:
    """Also a child that was forked after its parent had said its name."""
    ours = this_process()
    read, write = os.pipe()
    if (child := os.fork()) == 0:
        os.write(write, str(this_process()).encode())
        os._exit(0)
    os.waitpid(child, 0)
    theirs = os.read(read, 500).decode()
    os.close(read)
    os.close(write)
    assert theirs != ours
    assert f"/{child}/" in theirs

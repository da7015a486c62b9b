"""The signals that receivers connect to."""

from __future__ import annotations

import subprocess
import sys

import pytest
from celery.utils.dispatch import Signal

from backout import signals
from backout.events import Lifecycle


def test_there_is_one_signal_for_each_name_and_one_for_all() -> None:
    """What `runs watch --all` names, a receiver can be connected to by the same name."""
    assert sorted(signals.__all__) == sorted([*(name.value for name in Lifecycle), "any_event"])
    assert all(isinstance(getattr(signals, name), Signal) for name in signals.__all__)


@pytest.mark.parametrize("name", signals.__all__)
def test_signal_tells_its_name(name: str) -> None:
    """Celery's log of a receiver that raised, and a debugger, show which signal it was."""
    assert getattr(signals, name).name == name


@pytest.mark.parametrize(
    "code", ["from backout.signals import run_failed", "from backout import signals", "import backout.signals"]
)
def test_signals_can_be_imported_first(code: str) -> None:
    """A module of receivers may be the first thing of a project that is imported."""
    subprocess.run([sys.executable, "-c", code], check=True)

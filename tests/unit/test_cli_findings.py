"""How findings are shown: grouped, wrapped to the terminal, with remedies that can be copied."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from backout.cli.render.findings import print_findings, summarise
from backout.tasks.doctor.diagnosis import diagnose
from backout.tasks.doctor.facts import Failed
from backout.tasks.doctor.findings import Code, Finding, Level, fine
from tests.support.installations import HEALTHY, with_health, with_ledger
from tests.unit.test_doctor_findings import ILL

LONG = Finding(
    code=Code.VISIBILITY_TIMEOUT,
    level=Level.WARNING,
    found="words " * 40,
    why="more words " * 30,
    remedy="Write it",
    to_copy="app.conf.a_setting = {" + '"a": 1, ' * 30 + "}",
)


def show(*findings: Finding, width: int = 80) -> str:
    output = io.StringIO()
    print_findings(Console(file=output, width=width, color_system=None, highlight=False, markup=False), findings)
    return output.getvalue()


@pytest.mark.parametrize("width", [40, 80, 120, 300])
def test_text_fits_and_remedies_stay_whole(width: int) -> None:
    """A line to copy is never broken, however long it is; all else keeps to the terminal and stays readable."""
    lines = show(LONG, width=width).splitlines()
    assert f"      {LONG.to_copy}" in lines
    assert max(len(line) for line in lines if LONG.to_copy not in line) <= min(width, 100)


def test_areas_are_headings_and_codes_stand_behind_what_is_wrong() -> None:
    """A check that passed needs no code: nobody looks it up."""
    shown = show(*diagnose(with_ledger(revision="0000", health=None)))
    assert "\nbroker\n  ✓ redis://cache:6379/0 answers: Redis 7.0.15\n" in shown
    assert "✗ problem: its tables are at revision 0000; this release needs revision 0001" in shown
    assert "[ledger_schema]" in shown
    assert "[broker_reachable]" not in shown


def test_sentences_end_once_and_lead_to_what_can_be_copied() -> None:
    """A remedy with a command ends in a colon, all else in a full stop."""
    for facts in [case[1] for case in ILL]:
        shown = show(*diagnose(facts), width=1000)
        assert ".." not in shown
        assert ":." not in shown
    assert "    See what is asked:\n      celery -A proj backout reviews list\n" in show(
        *diagnose(with_health(reviews=1))
    )


@pytest.mark.parametrize(
    ("levels", "line"),
    [
        ([Level.OK], "✓ 1 check passed"),
        ([Level.OK, Level.NOTE], "✓ 1 note and 1 check passed"),
        ([Level.OK, Level.OK, Level.WARNING, Level.NOTE], "! 1 warning, 1 note and 2 checks passed"),
        ([Level.PROBLEM, Level.PROBLEM], "✗ 2 problems and 0 checks passed"),
    ],
)
def test_the_last_line_counts_worst_first(levels: list[Level], line: str) -> None:
    """Its sign is that of the worst; notes are no reason to worry."""
    findings = [replace(fine(Code.SETTINGS, "x"), level=level) for level in levels]
    assert summarise(findings).plain == line


def test_text_from_outside_cannot_steer_the_terminal() -> None:
    """A server's error message may hold anything."""
    shown = show(*diagnose(replace(HEALTHY, broker=Failed(place="x", said="\x1b[2Jgone"))))
    assert "\x1b" not in shown
    assert "\\x1b[2Jgone" in shown

"""The reference pages name what the code has, no more and no less."""

from __future__ import annotations

import re
from pathlib import Path

from backout import BackoutError
from backout.cli.demo.worker import WorkerFailed
from backout.cli.exits import UnknownReview
from backout.settings import Settings
from backout.tasks.doctor.findings import AREAS, Code
from backout.testing.servers import ServerUnavailable

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"
OPTIONAL: set[type[BackoutError]] = {ServerUnavailable, UnknownReview, WorkerFailed}
"""Errors of parts that are not always imported."""


def all_errors(root: type[BackoutError]) -> set[type[BackoutError]]:
    return {root}.union(*(all_errors(child) for child in root.__subclasses__()))


def test_every_error_code_has_a_heading_and_every_heading_a_code() -> None:
    """A person who reads a code in a log finds it in the reference."""
    headings = set(re.findall(r"^## (\w+)$", (REFERENCE / "errors.md").read_text(), re.MULTILINE))
    errors = all_errors(BackoutError) | OPTIONAL
    codes = {error.code for error in errors if error.__module__.startswith("backout.")}
    assert headings == codes


def test_every_setting_has_a_line_with_its_default() -> None:
    """The reference of settings is complete and its defaults are the ones in force."""
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \|", (REFERENCE / "settings.md").read_text(), re.MULTILINE)
    documented = {name: default.strip() for name, default in rows}
    actual = {
        name: "required" if field.is_required() else "none" if field.default is None else str(field.default)
        for name, field in Settings.model_fields.items()
    }
    assert documented == actual


def test_every_check_of_the_doctor_has_a_heading_under_its_area() -> None:
    """A person who reads a code in a finding looks it up; the page has the order of the findings."""
    documented: dict[str, list[str]] = {}
    for level, title in re.findall(r"^(##|###) (\w+)$", (REFERENCE / "doctor.md").read_text(), re.MULTILINE):
        if level == "##":
            documented[title.lower()] = []
        else:
            documented[list(documented)[-1]].append(title)
    actual: dict[str, list[str]] = {}
    for code in Code:
        actual.setdefault(AREAS[code].value, []).append(code.value)
    assert documented == actual

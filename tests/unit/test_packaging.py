"""What the package promises to installers, and what may not be in the files that set it up."""

import ast
import re
import tomllib
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CONSTRAINTS = (ROOT / "constraints.txt").read_text().splitlines()
EXTRAS = {"demo", "postgres", "mysql", "flower", "django", "flask", "bench", "dev"}
SET_UP_FILES = ["pyproject.toml", "constraints.txt", "Makefile", "dev.py", ".ci/run"]


def requirements() -> list[Requirement]:
    """Return what the project and its extras ask for, without the extras that name other extras."""
    lines = [*PROJECT["dependencies"], *chain.from_iterable(PROJECT["optional-dependencies"].values())]
    return [requirement for requirement in map(Requirement, lines) if requirement.name != PROJECT["name"]]


@pytest.mark.parametrize("name", SET_UP_FILES)
def test_set_up_names_no_host(name: str) -> None:
    """Packages come from wherever the user's own installer is configured to look."""
    assert "://" not in (ROOT / name).read_text()


def test_constraints_are_exact_versions_only() -> None:
    """No comment, option, path or index address: those would carry one machine's set-up into the repository."""
    exact = re.compile(r"[a-z0-9-]+==[0-9][A-Za-z0-9.+!]*( ; [a-z_]+ .*)?")
    assert [line for line in CONSTRAINTS if not exact.fullmatch(line)] == []


@pytest.mark.parametrize("requirement", requirements(), ids=lambda requirement: requirement.name)
def test_dependency_is_pinned_inside_its_bounds(requirement: Requirement) -> None:
    """Everything that is asked for has a lower and an upper bound, and is tested at a version between them."""
    assert {">=", "<"} == {specifier.operator for specifier in requirement.specifier}
    pins = [Requirement(line) for line in CONSTRAINTS if line.startswith(f"{canonicalize_name(requirement.name)}==")]
    assert pins, "run: python3 dev.py lock"
    for pin in pins:
        assert all(requirement.specifier.contains(specifier.version) for specifier in pin.specifier)


def test_extras_are_the_documented_ones() -> None:
    """Users install backout[demo], backout[postgres] and so on."""
    assert set(PROJECT["optional-dependencies"]) == EXTRAS


def test_both_commands_are_registered() -> None:
    """`backout …` and `celery -A proj backout …` are the same group of commands."""
    assert PROJECT["scripts"] == {"backout": "backout.cli.main:main"}
    assert PROJECT["entry-points"]["celery.commands"] == {"backout": "backout.cli.celery_entry:backout"}


def test_pytest_plugin_is_registered() -> None:
    """A project that has backout installed has its fixtures and its marker, and imports nothing for them."""
    assert PROJECT["entry-points"]["pytest11"] == {"backout": "backout.testing.pytest_plugin"}


def test_types_and_licence_are_shipped() -> None:
    """Type checkers use the annotations of an installed backout, and its licence comes along."""
    assert (ROOT / "backout" / "py.typed").exists()
    assert PROJECT["license"] == "MIT"
    assert all((ROOT / name).exists() for name in PROJECT["license-files"])


def test_set_up_script_needs_the_python_that_the_package_needs() -> None:
    """dev.py looks for the oldest Python that the package allows."""
    assignments = (node for node in ast.parse((ROOT / "dev.py").read_text()).body if isinstance(node, ast.Assign))
    [oldest] = [ast.literal_eval(node.value) for node in assignments if ast.unparse(node.targets[0]) == "OLDEST_PYTHON"]
    assert SpecifierSet(PROJECT["requires-python"]) == SpecifierSet(f">={oldest[0]}.{oldest[1]}")

"""What `backout` offers: a list that does not change by accident."""

from __future__ import annotations

import ast
import importlib.metadata
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import backout
from backout import BackoutError, api, errors
from backout.errors import StepError

PUBLIC = [
    "ActionDone",
    "ActionRefused",
    "AskHuman",
    "BackoutError",
    "CompensationContext",
    "ConfigurationError",
    "DefinitionError",
    "Direction",
    "EnqueuedRuns",
    "EntryRecord",
    "FailStep",
    "FollowedEntries",
    "InDoubt",
    "InvalidInput",
    "LedgerUnavailable",
    "Lifecycle",
    "LifecycleEvent",
    "MessageRefused",
    "NextAction",
    "NotDone",
    "OutputMissing",
    "ParkRun",
    "PayloadTooLarge",
    "Pipeline",
    "PlannedTask",
    "Preview",
    "Purged",
    "Refusal",
    "RefusedInput",
    "Request",
    "RequestError",
    "Retry",
    "RetryStep",
    "ReviewDecision",
    "ReviewReason",
    "ReviewRecord",
    "RollbackOutcome",
    "RunHandle",
    "RunRecord",
    "RunState",
    "SchemaMismatch",
    "SkipStep",
    "StateChanged",
    "Step",
    "StepContext",
    "StepError",
    "StepFailed",
    "StepRecord",
    "StepSignal",
    "StepState",
    "StepTimedOut",
    "TaskKind",
    "UndoneStep",
    "Unknown",
    "UnknownPipeline",
    "UnknownRun",
    "Verb",
    "WaitTimedOut",
    "act",
    "assign_review",
    "cancel",
    "continue_rollback",
    "follow",
    "install",
    "next_safe_actions",
    "pause",
    "preview",
    "purge",
    "read_lifecycle",
    "rerun_compensation",
    "resolve",
    "resume",
    "retry_step",
    "rollback",
    "skip_step",
    "step",
]

TYPING = Path(__file__).parents[1] / "typing"


def test_public_names_are_these() -> None:
    """A name that is added or goes is added or taken away here as well, on purpose."""
    assert backout.__all__ == PUBLIC


def test_nothing_else_is_there_to_be_imported_by_mistake() -> None:
    """Beside its modules, the place where the public names are put together has the public names only."""
    names = {name for name, value in vars(api).items() if not isinstance(value, ModuleType)}
    assert {name for name in names if not name.startswith("_")} == set(PUBLIC)


def test_public_names_are_found_by_completion() -> None:
    """A shell offers the names before the first one is used."""
    assert set(PUBLIC) <= set(dir(backout))


def test_name_that_is_not_public_is_no_attribute() -> None:
    """A misspelt name fails as in any other module."""
    with pytest.raises(AttributeError, match="module 'backout' has no attribute 'Pipelin'"):
        _ = backout.Pipelin  # type: ignore[attr-defined] # what is tested


def test_importing_the_package_loads_nothing_yet() -> None:
    """Every Celery command imports the package, also those that have nothing to do with it."""
    code = "import sys, backout; print([n for n in ('sqlalchemy', 'pydantic', 'celery') if n in sys.modules])"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "[]"


def test_every_error_can_be_caught_by_its_public_name() -> None:
    """No error reaches a user that only an internal module can name."""
    defined = {value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, BackoutError)}
    # Raised through its two children only.
    assert {error.__name__ for error in defined - {StepError}} <= set(PUBLIC)


def test_version_is_the_one_that_is_installed() -> None:
    """The package says of itself what its metadata says."""
    assert backout.__version__ == importlib.metadata.version("backout")


@pytest.mark.parametrize("name", PUBLIC)
def test_public_name_has_a_docstring_of_its_own(name: str) -> None:
    """`help()` says in one sentence what each name is for."""
    first = first_line(getattr(backout, name))
    assert first.endswith(".")
    assert first[0].isupper() or first[0] == "`"
    # A dataclass without a docstring gets its signature as one.
    assert not first.startswith(f"{name}(")


@pytest.mark.parametrize("name", PUBLIC)
def test_public_method_has_a_docstring(name: str) -> None:
    """`help()` says what each method does."""
    for method, function in methods(getattr(backout, name)):
        assert inspect.getdoc(function), f"{name}.{method}"


@pytest.mark.parametrize("name", PUBLIC)
def test_public_name_has_a_line_among_the_typed_uses(name: str) -> None:
    """What mypy says of each public name is part of what a release promises."""
    assert name in used_names(TYPING / "right_uses.py")


def test_every_misuse_is_refused_with_a_code_and_a_reason() -> None:
    """An ignore without a code would hide any error, and one without a reason proves nothing."""
    ignores = [line for line in (TYPING / "misuses.py").read_text().splitlines() if "# type: ignore" in line]
    assert len(ignores) > 30
    for line in ignores:
        assert re.search(r"# type: ignore\[[a-z-]+\](  ?# noqa: \w+)?( -)? # \w", line) or re.search(
            r"# type: ignore\[[a-z-]+\] # noqa: \w+ # \w", line
        ), line


def first_line(value: object) -> str:
    return (inspect.getdoc(value) or "").partition("\n")[0]


def methods(value: object) -> Iterator[tuple[str, object]]:
    cls = value if isinstance(value, type) else type(value)
    if cls.__module__.partition(".")[0] != "backout":
        return
    for name, member in vars(cls).items():
        if not name.startswith("_") and (inspect.isfunction(member) or isinstance(member, property)):
            yield name, member


def used_names(path: Path) -> set[str]:
    """Return the names that a module uses outside of its imports."""
    return {node.id for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Name)}

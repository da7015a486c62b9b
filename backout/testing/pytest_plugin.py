"""The pytest plugin: fixtures `backout_scratch` and `backout_rehearse`, marker `backout_rehearsal`.

Loaded by pytest in every project that has backout installed, so it imports nothing that is heavy until it is used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import pytest

from backout import testing

if TYPE_CHECKING:
    from backout.pipelines.definition import PipelineDefinition
    from backout.testing import Place, RehearsedCase, Scratch

MARKER: Final = "backout_rehearsal"
ARGUMENT: Final = "rehearsed"
_USAGE: Final = f"@pytest.mark.{MARKER}(pipeline, input=…, stand_ins=None, places=None)"


@dataclass(frozen=True, kw_only=True)
class _Wanted:
    """What a marker says."""

    pipeline: PipelineDefinition
    input: Any
    stand_ins: Mapping[Any, Callable[..., Any]] | None
    places: Sequence[Place | str] | None


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line(
        "markers",
        f"{MARKER}(pipeline, *, input, stand_ins=None, places=None): run the test once for each place where the "
        f"pipeline can fail; its argument `{ARGUMENT}` is the case (backout).",
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make one test of each place."""
    marker = metafunc.definition.get_closest_marker(MARKER)
    if marker is None:
        return
    if ARGUMENT not in metafunc.fixturenames:
        pytest.fail(f"{metafunc.function.__name__} is marked {MARKER} and has no argument `{ARGUMENT}`", pytrace=False)
    wanted = _read_marker(marker)
    places = testing.select_places(wanted.pipeline.plan, wanted.places)
    metafunc.parametrize(
        ARGUMENT, [(wanted, place) for place in places], ids=[place.id for place in places], indirect=True
    )


@pytest.fixture
def rehearsed(request: pytest.FixtureRequest) -> RehearsedCase:
    """One rehearsal of the pipeline that the marker `backout_rehearsal` names."""
    given: tuple[_Wanted, Place] | None = getattr(request, "param", None)
    if given is None:
        pytest.fail(f"`{ARGUMENT}` needs a marker: {_USAGE}", pytrace=False)
    wanted, place = given
    (case,) = testing.rehearse(wanted.pipeline, wanted.input, stand_ins=wanted.stand_ins, places=[place]).cases
    return case


@pytest.fixture
def backout_rehearse() -> Callable[..., testing.Rehearsal]:
    """The function `backout.testing.rehearse`."""
    return testing.rehearse


@pytest.fixture
def backout_scratch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scratch]:
    """A scratch app and ledger; what the test enqueues goes there, and `run` or `settle` runs it at once."""
    with testing.Scratch(tmp_path_factory.mktemp("backout")) as scratch:
        yield scratch


def _read_marker(marker: pytest.Mark) -> _Wanted:
    try:
        return _wanted(*marker.args, **marker.kwargs)
    except TypeError as error:
        pytest.fail(f"{error}; write {_USAGE}", pytrace=False)


def _wanted(
    pipeline: PipelineDefinition,
    *,
    input: Any,
    stand_ins: Mapping[Any, Callable[..., Any]] | None = None,
    places: Sequence[Place | str] | None = None,
) -> _Wanted:
    return _Wanted(pipeline=pipeline, input=input, stand_ins=stand_ins, places=places)

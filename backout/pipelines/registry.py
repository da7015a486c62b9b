"""The pipelines that this process has defined, by name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from backout.errors import DefinitionError, UnknownPipeline
from backout.pipelines.definition import PipelineDefinition

_pipelines: Final[dict[str, PipelineDefinition]] = {}


def add_pipeline(pipeline: PipelineDefinition) -> None:
    """Make a pipeline known under its name.

    Raises:
        DefinitionError: a different pipeline already has the name.
    """
    known = _pipelines.get(pipeline.name)
    if known is not None and known.plan.digest != pipeline.plan.digest:
        raise DefinitionError(
            subject=f"pipeline {pipeline.name!r}",
            problem="two pipelines with different steps have this name",
            remedy="Rename one: runs are found by it.",
        )
    _pipelines[pipeline.name] = pipeline


def find_pipeline(name: str) -> PipelineDefinition:
    """Return a pipeline.

    Raises:
        UnknownPipeline: this process has not defined it.
    """
    try:
        return _pipelines[name]
    except KeyError:
        raise UnknownPipeline(pipeline=name, known=tuple(sorted(_pipelines))) from None


def all_pipelines() -> Mapping[str, PipelineDefinition]:
    """Return the pipelines that this process has defined, by name."""
    return MappingProxyType(_pipelines)

"""Misuse at definition time that still slips through; each test describes the refusal that it waits for."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from backout.errors import DefinitionError
from backout.pipelines.decorators import step
from backout.pipelines.definition import PipelineDefinition, Retry
from tests.support.definitions import charge, compensate, make, make_bare, unique


async def is_async_generator(order: int) -> AsyncIterator[int]:
    yield order


MISUSES: dict[str, Callable[[], Any]] = {
    "a name that is too long for the ledger": lambda: step(name="x" * 201, keep="why")(charge).contract(),
    "a name with a NUL": lambda: step(name="a\x00b", keep="why")(charge).contract(),
    "a name that is no text": lambda: step(name=5, keep="why")(charge).contract(),  # type: ignore[call-overload]
    "a delay that is no duration": lambda: Retry(delay="soon"),  # type: ignore[arg-type]
    "a delay that is None": lambda: Retry(delay=None),  # type: ignore[arg-type]
    "a jitter that is no number": lambda: Retry(jitter="some"),  # type: ignore[arg-type]
    "a word that is no text": lambda: make(done=5),
    "an async generator": lambda: make(is_async_generator),
    "a builtin without a signature": lambda: make(max),
    "a step instead of a list": lambda: PipelineDefinition("p", make()),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("misuse", list(MISUSES))
def test_it_is_refused_with_a_remedy(misuse: str) -> None:
    """A mistake is a `DefinitionError` that says what to write, never another error and never silence."""
    with pytest.raises(DefinitionError) as caught:
        MISUSES[misuse]()
    assert caught.value.remedy


def test_steps_that_can_be_read_once_are_refused() -> None:
    """A generator of steps is refused: read twice, it would make a pipeline without steps."""
    with pytest.raises(DefinitionError, match="generator"):
        PipelineDefinition("p", (found for found in [make()]))  # type: ignore[arg-type]


def test_a_companion_that_comes_after_the_pipeline_of_a_copy_is_refused() -> None:
    """A step and its `named` copies share their companions, so they are fixed together."""
    made = make_bare()
    compensate(made)
    PipelineDefinition("p", [made.named(unique())])

    def find(order: dict[str, int]) -> dict[str, int]:
        return order

    with pytest.raises(DefinitionError):
        made.reconcile(find)


class ExistingTask:
    """A Celery task with several sending options, as `step.from_task` sees it."""

    name: str = "shop.existing"
    queue, priority, exchange, routing_key, compression = "slow", 3, "shop", "slow", "gzip"

    def run(self, order: int) -> None: ...

    def __call__(self, order: int) -> None: ...


def print_digest() -> None:
    task: Any = ExistingTask()
    print(PipelineDefinition("p", [step.from_task(task, keep="why")]).plan.digest)


def test_every_process_computes_the_same_digest_for_an_existing_task() -> None:
    """The options are collected from a set, whose order differs from process to process."""
    command = [sys.executable, "-c", "from tests.unit.test_definition_gaps import print_digest; print_digest()"]
    digests = {
        subprocess.run(
            command, env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(digests) == 1

"""What the model has found in the engine, and what was mended: each story is explored again."""

from __future__ import annotations

import pytest

from tests.model.catalogue import FINAL, HONEST, model, steps
from tests.model.explorer import explore
from tests.model.model import Model
from tests.model.pipelines import Result, model_step
from tests.model.world import Budget


def assert_obeys(model: Model) -> None:
    found = explore(model)
    assert found.violation is None, str(found.violation)


@pytest.mark.parametrize("result", [Result.NO_EFFECT, Result.SKIP])
def test_effect_of_an_attempt_that_was_given_up_is_undone(result: Result) -> None:
    """R4: a second attempt finds nothing and says so; the first one, which nobody hears of, still has its effect."""
    lost = model_step("lost", idempotent=True, before=FINAL | {result})
    failing = model_step("failing", before=FINAL)
    assert_obeys(Model(name="lost, failing", pipeline=(lost, failing), budget=Budget(zombies=1)))


def test_rollback_does_not_cross_an_attempt_that_was_given_up() -> None:
    """R7: it may have happened, whatever a later attempt says."""
    pipeline = steps("irreversible", idempotent=True, before=HONEST)
    assert_obeys(Model(name="irreversible", pipeline=pipeline, budget=Budget(zombies=1)))


@pytest.mark.parametrize("kind", ["idempotent", "reconciled"])
def test_attempt_must_not_begin_when_its_time_is_up(kind: str) -> None:
    """R5, R8: held up between claim and call it would have its effect when the others believe that it is over."""
    assert_obeys(model(kind, budget=Budget(zombies=1), quiet=True))
    found = explore(model(kind, budget=Budget(zombies=1), quiet=True, ends_calls_in_time=False))
    assert found.violation is not None


def test_run_that_waits_for_a_person_does_not_go_on() -> None:
    """A worker that defines the step comes after a person was asked: the failure of its attempt cannot be recorded."""
    assert_obeys(model("once", budget=Budget(unknown_tasks=1)))

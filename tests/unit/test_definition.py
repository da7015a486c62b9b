"""Every refusal at definition time says what to write instead; what is accepted becomes the contract as written."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import celery
import pytest

from backout.pipelines.contract import Effect, OnCompensationFailure, OnFailure, RecoveryKind
from backout.pipelines.decorators import step
from backout.pipelines.definition import PipelineDefinition, Retry
from backout.pipelines.schema import NotDone
from backout.pipelines.validation import REFUSED_OPTIONS, SENDING_OPTIONS, TASK_OPTIONS
from tests.support.definitions import charge, compensate, make, make_bare, refund, refused, unique


def takes_nothing() -> None: ...
def takes_three(order: int, output: int, ctx: int) -> None: ...
def takes_any(*orders: int) -> None: ...
def takes_keywords(order: int, **more: int) -> None: ...
def takes_keyword_only(order: int, *, ctx: int) -> None: ...
async def is_async(order: int) -> None: ...
def is_generator(order: int) -> Iterator[int]:
    yield order


class TestFunctions:
    @pytest.mark.parametrize("function", [takes_nothing, takes_three, takes_any, takes_keywords, takes_keyword_only])
    def test_a_signature_that_the_engine_cannot_call_is_refused(self, function: Callable[..., Any]) -> None:
        """The message shows the signature found and those that are accepted."""
        error = refused(lambda: make(function))
        assert "its signature is (" in error.problem
        assert "(input) or (input, ctx)" in error.remedy

    @pytest.mark.parametrize("function", [is_async, is_generator])
    def test_functions_that_celery_cannot_run_are_refused(self, function: Callable[..., Any]) -> None:
        """An async function would return a coroutine that nobody awaits."""
        assert "asyncio.run" in refused(lambda: make(function)).remedy

    @pytest.mark.parametrize("function", [lambda order: order, functools.partial(charge, {})])
    def test_what_has_no_name_is_refused(self, function: Callable[..., Any]) -> None:
        """A worker finds a step by its name."""
        assert "Use `def`" in refused(lambda: make(function)).remedy

    @pytest.mark.parametrize("function", [int, dict, 5, None, "charge"])
    def test_what_is_no_function_is_refused(self, function: Any) -> None:
        """The message names what was given."""
        assert "must be a function" in refused(lambda: make(function)).problem

    def test_a_type_that_json_cannot_express_is_refused(self) -> None:
        """Annotations are the schema: a live object can be neither stored nor sent."""

        def send(loop: asyncio.AbstractEventLoop) -> None: ...

        error = refused(lambda: PipelineDefinition("p", [make(send)]))
        assert "pass ids instead of live objects" in error.remedy

    def test_an_annotation_that_is_not_there_is_refused(self) -> None:
        """A type that is imported for the type checker only is not there when the step runs."""

        def send(order: Missing) -> None: ...  # type: ignore[name-defined]  # noqa: F821 - the point of the test

        assert "TYPE_CHECKING" in refused(lambda: PipelineDefinition("p", [make(send)])).remedy

    def test_a_step_stays_an_ordinary_function(self) -> None:
        """A unit test calls the bare function."""
        assert make()({"amount": 1}, None) == {"amount": 1}

    def test_the_decorator_works_without_parentheses(self) -> None:
        """The contract's defaults are enough for a step whose recovery comes as a compensation."""

        @step
        def plain_step(order: int) -> int:
            return order

        assert plain_step.name == "plain_step"
        assert plain_step.function.task_name == f"{__name__}.plain_step"

    def test_two_functions_of_one_task_name_are_refused(self) -> None:
        """A message could run either."""

        def takes_another(order: str) -> None: ...

        name = unique()
        step(name=name, effect="read")(takes_another)
        error = refused(lambda: step(name=name, effect="read")(takes_input))
        assert "already taken" in error.problem
        assert "@step(name=" in error.remedy


def takes_input(order: int) -> None: ...


class TestRecovery:
    @pytest.mark.parametrize("effect", ["write", "notify", "publish"])
    def test_an_effect_without_a_recovery_action_is_refused(self, effect: str) -> None:
        """Whoever changes something outside says what becomes of it; the remedy names all three ways."""
        error = refused(lambda: make_bare(effect=effect).contract())
        assert f'"{effect}"' in error.problem
        for way in ("@step.compensation(action=", 'keep="', 'irreversible="', 'effect="read"'):
            assert way in error.remedy

    @pytest.mark.parametrize(
        ("keywords", "is_compensated"),
        [
            ({"keep": "why", "irreversible": "why"}, False),
            ({"keep": "why"}, True),
            ({"irreversible": "why"}, True),
            ({"keep": "why", "irreversible": "why"}, True),
        ],
    )
    def test_more_than_one_recovery_action_is_refused(self, keywords: dict[str, str], is_compensated: bool) -> None:
        """Only one can be true."""
        made = make_bare(**keywords)
        if is_compensated:
            compensate(made)
        assert "only one can be true" in refused(made.contract).problem

    @pytest.mark.parametrize("keywords", [{"keep": "why"}, {"irreversible": "why"}])
    def test_a_read_has_nothing_to_recover(self, keywords: dict[str, str]) -> None:
        """A read that names a recovery action is no read, or has one too many."""
        assert 'effect="write"' in refused(lambda: make_bare(effect="read", **keywords).contract()).remedy

    @pytest.mark.parametrize("word", ["keep", "irreversible"])
    @pytest.mark.parametrize("reason", ["", "  ", 5, True])
    def test_a_reason_must_say_why(self, word: str, reason: Any) -> None:
        """`keep=True` tells nobody why it may stay."""
        assert f'{word}="' in refused(lambda: make_bare(**{word: reason})).remedy

    @pytest.mark.parametrize(
        ("keywords", "kind", "reason"),
        [
            ({"keep": "it is useful by itself"}, RecoveryKind.KEEP, "it is useful by itself"),
            ({"irreversible": "mail was sent"}, RecoveryKind.IRREVERSIBLE, "mail was sent"),
            ({"effect": "read"}, RecoveryKind.NOTHING_TO_UNDO, ""),
        ],
    )
    def test_the_one_named_is_in_the_contract(self, keywords: Any, kind: RecoveryKind, reason: str) -> None:
        """What was named is what a rollback does."""
        contract = make_bare(**keywords).contract()
        assert (contract.recovery, contract.recovery_reason, contract.compensation) == (kind, reason, None)

    def test_a_compensation_is_in_the_contract_with_its_own_settings(self) -> None:
        """It has retries, timeout and policy of its own."""
        made = make_bare()
        compensate(made, action="refund the charge", retry=Retry(limit=9), timeout=7, on_failure="continue", queue="q")
        contract = made.contract().compensation
        assert contract is not None
        assert (contract.action, contract.retry.limit, contract.timeout_seconds) == ("refund the charge", 9, 7)
        assert (contract.on_failure, contract.options) == (OnCompensationFailure.CONTINUE, {"queue": "q"})


class TestCompanions:
    @pytest.mark.parametrize("action", ["", None, 5])
    def test_a_compensation_without_a_named_action_is_refused(self, action: Any) -> None:
        """An operator reads the action before anything is undone."""
        assert 'action="refund the charge"' in refused(lambda: compensate(make_bare(), action=action)).remedy

    @pytest.mark.parametrize("function", [takes_input, takes_nothing, takes_any, is_async])
    def test_a_compensation_takes_input_and_output(self, function: Callable[..., Any]) -> None:
        """Its signature is refused like a step's, with its own remedy."""
        error = refused(lambda: compensate(make_bare(), function))
        assert "compensation of step" in error.subject

    @pytest.mark.parametrize(
        ("keywords", "problem"),
        [
            ({"timeout": 0}, "timeout=0"),
            ({"on_failure": "rollback"}, "on_failure='rollback' is unknown"),
            ({"acks_late": False}, "R1"),
            ({"max_retries": 3}, "'max_retries'"),
            ({"colour": "red"}, "'colour' is no option"),
        ],
    )
    def test_options_of_a_compensation_are_checked(self, keywords: dict[str, Any], problem: str) -> None:
        """A compensation breaks no rule either."""
        assert problem in refused(lambda: compensate(make_bare(), **keywords)).problem

    def test_a_second_one_is_refused(self) -> None:
        """Nobody could say which of two is the compensation."""
        made = make_bare()
        compensate(made)
        assert "there is one already" in refused(lambda: compensate(made)).problem

    def test_one_that_comes_after_the_pipeline_is_refused(self) -> None:
        """The contract was fixed with the pipeline: a later companion would silently not count."""
        made = make()
        PipelineDefinition("p", [made])
        assert "above the pipeline" in refused(lambda: compensate(made)).remedy

    def test_only_what_is_published_can_be_verified(self) -> None:
        """The second acceptance belongs to `publish`."""
        assert 'effect="publish"' in refused(lambda: make_bare(effect="write").verify(refund)).remedy

    def test_reconcile_and_verify_are_in_the_contract(self) -> None:
        """A worker finds them by their task names."""

        def is_live(order: dict[str, int], output: dict[str, int]) -> bool:
            return True

        def find(order: dict[str, int]) -> dict[str, int] | NotDone:
            return NotDone()

        made = make(effect="publish")
        made.reconcile(find)
        made.verify(is_live)
        contract = made.contract()
        assert contract.reconcile is not None
        assert contract.verify is not None
        assert contract.reconcile.task == f"{__name__}.find"
        assert contract.verify.task == f"{__name__}.is_live"

    def test_a_companion_stays_an_ordinary_function(self) -> None:
        """A unit test calls the bare function."""

        def give_back(order: int, output: int) -> int:
            return order - output

        companion = make_bare().compensation(action="give back")(give_back)
        assert companion(5, 3) == 2


class TestOptions:
    @pytest.mark.parametrize("option", sorted(REFUSED_OPTIONS))
    def test_a_celery_option_that_would_break_a_rule_is_refused(self, option: str) -> None:
        """Each with the reason, or with what to use instead."""
        error = refused(lambda: make(charge, **{option: 1}))
        assert repr(option) in error.problem
        assert error.remedy.lower() == f"{REFUSED_OPTIONS[option]}.".lower()

    @pytest.mark.parametrize("option", sorted(SENDING_OPTIONS))
    def test_sending_options_go_into_the_contract(self, option: str) -> None:
        """Any process can send the step."""
        assert make(charge, **{option: "x"}).contract().options == {option: "x"}

    @pytest.mark.parametrize("option", sorted(TASK_OPTIONS))
    def test_options_of_the_task_stay_with_the_worker(self, option: str) -> None:
        """What belongs to the task class is not part of a run."""
        value = {"base": celery.Task, "rate_limit": "10/m"}.get(option, True)
        made = make(charge, **{option: value})
        assert made.function.task_options == {option: value}
        assert made.contract().options == {}

    @pytest.mark.parametrize(("typed", "meant"), [("que", "queue"), ("retri", "retry"), ("time_out", "timeout")])
    def test_a_mistyped_option_is_answered_with_the_right_one(self, typed: str, meant: str) -> None:
        """Otherwise it would be ignored and believed."""
        assert refused(lambda: make(charge, **{typed: 1})).remedy == f"Did you mean {meant!r}?"

    def test_early_acknowledgement_must_be_asked_for_in_words(self) -> None:
        """R1: nobody turns late acknowledgement off by the way."""
        assert 'ack="early"' in refused(lambda: make(acks_late=False)).remedy
        assert make(acks_late=True).contract().ack_early is False
        assert make(ack="early").contract().ack_early is True

    @pytest.mark.parametrize(
        ("keywords", "remedy"),
        [
            ({"ack": "never"}, '"late"'),
            ({"effect": "delete"}, "read, write, notify, publish"),
            ({"on_failure": "ignore"}, "rollback, park, continue, review"),
            ({"timeout": 0}, "timedelta"),
            ({"timeout": -1}, "timedelta"),
            ({"timeout": True}, "timedelta"),
            ({"timeout": "30"}, "timedelta"),
            ({"timeout": None}, "timedelta"),
            ({"timeout": float("inf")}, "timedelta"),
            ({"timeout": float("nan")}, "timedelta"),
            ({"timeout": timedelta(seconds=-1)}, "timedelta"),
            ({"retry": 3}, "Retry(limit=3)"),
            ({"idempotency_key": "order-1"}, "lambda order: order.id"),
            ({"done": "card charged!"}, "card_charged"),
            ({"pending": ""}, "card_charged"),
            ({"failed": "a-b"}, "card_charged"),
        ],
    )
    def test_a_value_that_cannot_be_used_is_refused(self, keywords: dict[str, Any], remedy: str) -> None:
        """Each with what to write instead."""
        assert remedy in refused(lambda: make(**keywords)).remedy

    def test_the_defaults_are_those_of_the_documentation(self) -> None:
        """A step that says nothing else has this contract."""
        contract = make().contract()
        assert (contract.effect, contract.on_failure, contract.idempotent) == (
            Effect.WRITE,
            OnFailure.ROLLBACK,
            False,
        )
        assert (contract.timeout_seconds, contract.retry) == (600, Retry().rule())
        assert (contract.done, contract.pending, contract.failed) == tuple(
            f"{contract.name}_{word}" for word in ("done", "pending", "failed")
        )
        assert (contract.has_own_key, contract.reconcile, contract.verify) == (False, None, None)

    @pytest.mark.parametrize(("keywords", "expected"), [({}, True), ({"idempotent": False}, False)])
    def test_a_read_may_be_run_again_unless_it_says_otherwise(self, keywords: Any, expected: bool) -> None:
        """R8: reading twice has no second effect."""
        assert make(effect="read", **keywords).contract().idempotent is expected


class TestPipeline:
    @pytest.mark.parametrize("name", ["", "x" * 201, "a\x00b", None, 5])
    def test_a_name_that_cannot_be_stored_is_refused(self, name: Any) -> None:
        """Runs are found by it."""
        assert "1 to 200 characters" in refused(lambda: PipelineDefinition(name, [make()])).remedy

    def test_one_without_steps_is_refused(self) -> None:
        """There would be nothing to run."""
        assert "at least one step" in refused(lambda: PipelineDefinition("p", [])).remedy

    @pytest.mark.parametrize("entry", [charge, "charge", None])
    def test_what_is_no_step_is_refused(self, entry: Any) -> None:
        """The remedy names the decorator and the way for existing tasks."""
        error = refused(lambda: PipelineDefinition("p", [make(), entry]))
        assert "@step" in error.remedy
        assert "step.from_task" in error.remedy

    def test_a_name_that_is_used_twice_is_refused(self) -> None:
        """Outputs are found by the name of their step."""
        made = make()
        assert f'{made.name}.named("…")' in refused(lambda: PipelineDefinition("p", [made, made])).remedy

    def test_a_step_can_be_used_twice_under_two_names(self) -> None:
        """The same function and contract, with words of its own."""
        made = make()
        plan = PipelineDefinition("p", [made, made.named("again")]).plan
        assert [contract.name for contract in plan.steps] == [made.name, "again"]
        assert plan.steps[0].task == plan.steps[1].task
        assert plan.steps[1].done == "again_done"

    def test_its_plan_has_the_steps_in_order(self) -> None:
        """The order of definition is the order of start."""
        steps = [make(), make(), make()]
        pipeline = PipelineDefinition("p", steps)
        assert [contract.name for contract in pipeline.plan.steps] == [made.name for made in steps]
        assert repr(pipeline) == f"<pipeline p: {' → '.join(made.name for made in steps)}>"

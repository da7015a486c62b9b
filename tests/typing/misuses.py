"""What mypy must refuse, with the code of each refusal. Never run.

A line that mypy let pass would have an unused `type: ignore`, which is an error as well.
"""

from __future__ import annotations

from datetime import timedelta

from celery import Celery

import backout
from backout import AskHuman, FailStep, Pipeline, Retry, RetryStep, SkipStep, Step, StepContext, install, purge, step
from tests.typing.right_uses import Charge, Order, charge_card, find_charge, fulfil_order, publish_page, refund_card


def misspelt_words(ctx: StepContext) -> None:
    backout.Pipelin("p", [])  # type: ignore[attr-defined] # no such name, although the names are found late
    step(effect="wrote")  # type: ignore[call-overload] # no such effect
    step(on_failure="undo")  # type: ignore[call-overload] # no such policy
    step(ack="never")  # type: ignore[call-overload] # late or early
    charge_card.compensation(action="undo", on_failure="park")  # type: ignore[arg-type] # halt or continue
    Retry(backoff="quadratic")  # type: ignore[arg-type] # no such growth


def wrong_types_of_options() -> None:
    step(retry=3)  # type: ignore[call-overload] # a Retry, not its limit
    step(timeout="30s")  # type: ignore[call-overload] # a timedelta or seconds
    step(idempotency_key="order-1")  # type: ignore[call-overload] # a function of the input
    step(sensitive="card")  # type: ignore[call-overload] # a tuple of names, also of one
    step(keep=True)  # type: ignore[call-overload] # the reason, in words
    charge_card.compensation(retry=Retry())  # type: ignore[call-arg] # an action must be named
    Retry(limit="3")  # type: ignore[arg-type] # a number
    Retry(3)  # type: ignore[call-arg] # keywords only
    Retry(on=(ConnectionError, "TimeoutError"))  # type: ignore[arg-type] # types, not their names
    Retry(on=ConnectionError)  # type: ignore[arg-type] # a tuple, also of one


def frozen_values() -> None:
    Retry().limit = 4  # type: ignore[misc] # a contract does not change


def wrong_calls_of_bare_functions(order: Order, ctx: StepContext) -> None:
    charge_card("order-1", ctx)  # type: ignore[arg-type] # the input's type is the function's
    charge_card(order)  # type: ignore[call-arg] # the function takes a context
    charge_card(order, ctx, 3)  # type: ignore[call-arg] # and no more
    refund_card(order, "ch-1", ctx)  # type: ignore[arg-type] # neither the output nor its context
    find_charge(Charge(id="ch-1"), ctx)  # type: ignore[arg-type] # a reconcile function takes the input
    text: str = charge_card(order, ctx)  # type: ignore[assignment] # a step returns what its function returns
    print(text)


def wrong_steps_and_pipelines(order: Order) -> None:
    def no_step(order: Order) -> None:
        """Be an ordinary function."""

    Pipeline("p", [charge_card, no_step])  # type: ignore[list-item] # every entry is a step
    Pipeline("p", [charge_card], str)  # type: ignore[call-arg] # options are keywords
    Pipeline("p", [charge_card], subject="customer")  # type: ignore[arg-type] # a function of the input
    Pipeline("p", [charge_card], customer_messages={"in_review": 1})  # type: ignore[dict-item] # text
    Pipeline("p", [charge_card], review_within="1 day")  # type: ignore[arg-type] # a timedelta or seconds
    fulfil_order.enqueue()  # type: ignore[call-arg] # a run has an input
    fulfil_order.enqueue(order, "form-8812")  # type: ignore[call-arg] # options are keywords
    fulfil_order.enqueue(order, source_event_id=8812)  # type: ignore[arg-type] # text
    fulfil_order.enqueue_many(7)  # type: ignore[arg-type] # many inputs
    fulfil_order.enqueue_many([order], source_event_ids=["form-8812"])  # type: ignore[arg-type] # a function, or "pairs"
    fulfil_order.enqueue_many([order], on_error="ignore")  # type: ignore[arg-type] # collect or raise
    fulfil_order.enqueue_many([order], progress=True)  # type: ignore[arg-type] # a function
    fulfil_order.delay(order)  # type: ignore[attr-defined] # a pipeline is no task
    charge_card.delay(order)  # type: ignore[attr-defined] # nor is a step
    other: Step[[str], Charge] = charge_card  # type: ignore[assignment] # a step's signature is part of its type
    print(other)


def wrong_handles(order: Order) -> None:
    handle = fulfil_order.enqueue(order)
    handle.wait("5 s")  # type: ignore[arg-type] # seconds
    handle.wait(timeout=timedelta(seconds=5))  # type: ignore[arg-type] # seconds
    handle.customer_message = ""  # type: ignore[misc] # derived from the run
    handle.output = None  # type: ignore[misc] # read from the ledger
    handle.state  # type: ignore[attr-defined] # noqa: B018 # `status()` reads it


def wrong_signals(ctx: StepContext) -> None:
    RetryStep(after=60)  # type: ignore[arg-type] # a timedelta
    FailStep()  # type: ignore[call-arg] # a reason
    FailStep("no card", True)  # type: ignore[call-arg] # never a boolean by position
    SkipStep()  # type: ignore[call-arg] # a reason
    AskHuman(401)  # type: ignore[arg-type] # a reason code
    ctx.record_external_id("charge")  # type: ignore[call-arg] # a name and a value
    ctx.external_ids["charge"] = "ch-1"  # type: ignore[index] # recorded by `record_external_id` only
    ctx.output(charge_card.function)  # type: ignore[arg-type] # a step or its name


def wrong_purges() -> None:
    purge()  # type: ignore[call-arg] # an age must be named
    purge(older_than=90)  # type: ignore[arg-type] # a timedelta
    purge(older_than=timedelta(days=90), states=["done"])  # type: ignore[list-item] # states, not words
    purge(timedelta(days=90))  # type: ignore[call-arg] # options are keywords


def wrong_installs(app: Celery) -> None:
    install(app, "sqlite:///ledger.sqlite3")  # type: ignore[call-arg] # options are keywords
    install(app, database_url=None, chain_links="50").unknown  # type: ignore[attr-defined] # noqa: B018 # no such thing


publish_page.verified  # type: ignore[attr-defined] # noqa: B018 # the decorator is called `verify`

"""The public names used as they are meant to be: mypy must accept every line. Never run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any, assert_type

from celery import Celery
from pydantic import BaseModel

from backout import (
    ActionDone,
    ActionRefused,
    AskHuman,
    BackoutError,
    CompensationContext,
    ConfigurationError,
    DefinitionError,
    Direction,
    EnqueuedRuns,
    EntryRecord,
    FailStep,
    FollowedEntries,
    InDoubt,
    InvalidInput,
    LedgerUnavailable,
    Lifecycle,
    LifecycleEvent,
    MessageRefused,
    NextAction,
    NotDone,
    OutputMissing,
    ParkRun,
    PayloadTooLarge,
    Pipeline,
    PlannedTask,
    Preview,
    Purged,
    Refusal,
    RefusedInput,
    Request,
    RequestError,
    Retry,
    RetryStep,
    ReviewDecision,
    ReviewReason,
    ReviewRecord,
    RollbackOutcome,
    RunHandle,
    RunRecord,
    RunState,
    SchemaMismatch,
    SkipStep,
    StateChanged,
    Step,
    StepContext,
    StepError,
    StepFailed,
    StepRecord,
    StepSignal,
    StepState,
    StepTimedOut,
    TaskKind,
    UndoneStep,
    Unknown,
    UnknownPipeline,
    UnknownRun,
    Verb,
    WaitTimedOut,
    act,
    assign_review,
    cancel,
    continue_rollback,
    follow,
    install,
    next_safe_actions,
    pause,
    preview,
    purge,
    read_lifecycle,
    rerun_compensation,
    resolve,
    resume,
    retry_step,
    rollback,
    skip_step,
    step,
)
from backout.identifiers import RunId
from backout.signals import any_event, run_failed


class Order(BaseModel):
    id: str
    customer_id: str


class Charge(BaseModel):
    id: str


# --- Steps ------------------------------------------------------------------------------------------------------------


@step(
    effect="write",
    retry=Retry(
        limit=3, delay=timedelta(seconds=2), backoff="exponential", on=(ConnectionError,), never_on=(KeyError,)
    ),
    timeout=timedelta(seconds=30),
    on_failure="park",
    idempotency_key=lambda order: str(order.id),
    done="card_charged",
    queue="payments",
    sensitive=("charge",),
)
def charge_card(order: Order, ctx: StepContext) -> Charge:
    ctx.record_external_id("charge", 17)
    assert_type(ctx.idempotency_key, str)
    assert_type(ctx.attempt, int)
    assert_type(ctx.subject_id, str | None)
    assert_type(ctx.external_ids, Mapping[str, str])
    return Charge(id=ctx.external_ids["charge"])


@charge_card.compensation(action="refund the charge", retry=Retry(limit=0), timeout=60, on_failure="continue")
def refund_card(order: Order, charge: Charge | None, ctx: CompensationContext) -> None:
    assert_type(ctx.undoes, UndoneStep)
    assert_type(ctx.undoes.timeout, timedelta)
    assert_type(ctx.cause, str)
    assert_type(ctx.requested_by, str)


@charge_card.reconcile
def find_charge(order: Order, ctx: StepContext) -> Charge | NotDone | Unknown:
    return NotDone() if ctx.attempt > 1 else Unknown("the provider is away")


@step(effect="read", retry=Retry(limit=1))
def look_up(order: Order) -> Charge:
    return Charge(id="ch-1")


@look_up.reconcile(retry=Retry(limit=2), timeout=timedelta(seconds=5), queue="questions")
def find_again(order: Order) -> Charge | NotDone:
    return NotDone()


@step
def plain(order: Order) -> None:
    """A step without options."""


@plain.compensation(action="do nothing")
def undo_plain(order: Order, output: None) -> None:
    """Its compensation."""


@step(effect="publish", irreversible="it was read", ack="early")
def publish_page(order: Order) -> str:
    return order.id


@publish_page.verify(retry=Retry(limit=60, delay=5, backoff="constant"))
def is_live(order: Order, page: str) -> bool:
    return bool(page)


# --- What is made of a function keeps its signature -------------------------------------------------------------------


def call_bare_functions(order: Order, ctx: StepContext, undoing: CompensationContext) -> None:
    assert_type(charge_card(order, ctx), Charge)
    assert_type(charge_card(order=order, ctx=ctx), Charge)
    assert_type(plain(order), None)
    assert_type(find_charge(order, ctx), Charge | NotDone | Unknown)
    assert_type(is_live(order, "page"), bool)
    refund_card(order, None, undoing)
    refund_card(order, Charge(id="ch-1"), undoing)


def use_steps_as_values() -> None:
    one: Step[..., Any] = charge_card
    renamed: Step[[Order, StepContext], Charge] = charge_card.named("charge_again")
    assert_type(one.name, str)
    assert_type(renamed.named("charge_once_more"), Step[[Order, StepContext], Charge])


# --- Pipelines --------------------------------------------------------------------------------------------------------

fulfil_order = Pipeline(
    "fulfil_order",
    [charge_card, plain, publish_page],
    subject=lambda order: str(order.customer_id),
    deadline=timedelta(hours=1),
    review_within=None,
    customer_messages={"in_review": "We are looking into it.", RunState.SUCCEEDED: "Your order is on its way."},
    sensitive=["customer_id"],
)


def enqueue(order: Order, connection: object, session: object) -> None:
    handle = fulfil_order.enqueue(order, source_event_id="form-8812")
    assert_type(fulfil_order.get_run(handle.id), RunHandle)
    assert_type(fulfil_order.find_run("form-8812"), RunHandle | None)
    fulfil_order.enqueue(order, connection=connection)
    fulfil_order.enqueue(order, session=session)
    assert_type(handle, RunHandle)
    assert_type(handle.was_created, bool)
    assert_type(handle.customer_message, str)
    run = handle.wait(timeout=5)
    assert_type(run.state, RunState)
    assert_type(run.rollback_outcome, RollbackOutcome)
    assert_type(run.state.is_final, bool)
    states: list[tuple[StepState, Direction]] = [(row.state, row.direction) for row in handle.steps()]
    reasons: list[str | None] = [entry.reason for entry in handle.entries()]
    print(handle.id, handle.status(), handle.output, states, reasons)


def enqueue_many(orders: Iterable[Order], pairs: list[tuple[Order, str]], connection: object, session: object) -> None:
    result = fulfil_order.enqueue_many(orders)
    assert_type(result, EnqueuedRuns)
    assert_type(list(result), list[RunHandle])
    assert_type(result.refused, tuple[RefusedInput, ...])
    assert_type(result.refused[0].error, RequestError)
    assert_type((len(result), result.created, result.unsent, result.refused[0].index), tuple[int, int, int | None, int])
    fulfil_order.enqueue_many((order for order in orders), source_event_ids=lambda order: str(order.id))
    fulfil_order.enqueue_many(pairs, source_event_ids="pairs", on_error="raise", session=session)
    fulfil_order.enqueue_many(orders, progress=lambda done, refused, total: print(done, total), connection=connection)


def bind(app: Celery) -> None:
    runtime = install(app, database_url="sqlite:///ledger.sqlite3", lease_seconds=30)
    assert_type(runtime.settings.lease_seconds, float)


# --- Signals and errors -----------------------------------------------------------------------------------------------


def say_how_it_ended(order: Order, ctx: StepContext) -> StepSignal:
    signals: list[StepSignal] = [
        RetryStep("busy", after=timedelta(minutes=1)),
        RetryStep(),
        FailStep("no such card", no_effect=True),
        InDoubt("no answer within 10 s"),
        ParkRun("on strike"),
        AskHuman("credentials_failed", "revoked"),
        AskHuman(ReviewReason.SYSTEMS_DISAGREE),
        SkipStep("nothing to charge"),
    ]
    assert_type(ctx.output(charge_card), Any)
    return signals[0]


def read_errors(error: BackoutError) -> str:
    match error:
        case DefinitionError(subject=subject, problem=problem, remedy=remedy):
            return subject + problem + remedy
        case SchemaMismatch(expected=expected):
            return expected
        case ConfigurationError(problem=problem, remedy=remedy):
            return problem + remedy
        case InvalidInput(problems=problems):
            return ", ".join(problems)
        case PayloadTooLarge(size_bytes=size) | PayloadTooLarge(limit_bytes=size):
            return f"{size:,}"
        case UnknownPipeline(pipeline=name) | UnknownRun(run_id=name) | OutputMissing(step=name):
            return name
        case WaitTimedOut(timeout_seconds=seconds) | StepTimedOut(timeout_seconds=seconds):
            return f"{seconds:g}"
        case ActionRefused(why=text) | StateChanged(found=text):
            return text
        case LedgerUnavailable(database=text) | MessageRefused(problem=text) | StepFailed(consequence=text):
            return text
        case RequestError():
            return "whoever called"
        case StepError():
            return "nobody"
    return error.code


# --- What the ledger says ---------------------------------------------------------------------------------------------


def read_records(run: RunRecord, step_row: StepRecord, entry: EntryRecord, review: ReviewRecord) -> None:
    assert_type(run.state, RunState)
    assert_type(step_row.direction, Direction)
    assert_type(entry.run_id, RunId | None)
    assert_type(review.reason, ReviewReason)


# --- By hand ----------------------------------------------------------------------------------------------------------


def act_by_hand(run: RunHandle) -> list[ActionDone]:
    wanted = Request(verb=Verb.ROLLBACK, to_step="charge")
    seen = preview(run, wanted)
    assert_type(seen, Preview)
    assert_type(seen.refusal, Refusal | None)
    assert_type(seen.tasks, tuple[PlannedTask, ...])
    assert_type([task.kind for task in seen.tasks], list[TaskKind])
    assign_review(7, "ada", actor="ada")
    return [
        act(run, wanted, actor="ada", reason="wrong order", expecting=seen.version),
        retry_step(run, actor="ada", reason="the provider is back"),
        resume(run, actor="ada", reason="go on"),
        skip_step(run.id, actor="ada", reason="not needed", step="notify"),
        rollback(run, actor="ada", reason="wrong order", to_step="charge", across_irreversible="agreed with finance"),
        rerun_compensation(run, "charge", actor="ada", reason="the refund did not arrive"),
        continue_rollback(run, actor="ada", reason="the provider is back"),
        resolve(7, ReviewDecision.DONE, output={"id": "ch_1"}, actor="ada", reason="seen in the dashboard"),
        cancel(run, actor="ada", reason="a test", with_rollback=True),
        pause(run, actor="ada", reason="a moment"),
    ]


def look(run: RunHandle) -> list[str]:
    assert_type(next_safe_actions(run), tuple[NextAction, ...])
    return [action.why for action in next_safe_actions(run.id) if action.is_safe]


# --- What happens, as it happens --------------------------------------------------------------------------------------


@run_failed.connect(sender="fulfil_order", weak=False)
def page_somebody(sender: str, event: LifecycleEvent, **_: object) -> None:
    assert_type(event.name, Lifecycle)
    assert_type(event.run_id, RunId)
    assert_type(event.pipeline, str | None)


def hear_all(sender: str, event: LifecycleEvent, **_: object) -> None:
    any_event.connect(hear_all)


def follow_all(handle: RunHandle, cursor: int) -> int:
    for entry in handle.watch(after_id=cursor, timeout=5):
        assert_type(entry, EntryRecord)
    entries = follow(after_id=cursor, pipeline="fulfil_order", timeout=0)
    assert_type(entries, FollowedEntries)
    for entry in entries:
        assert_type(read_lifecycle(entry, pipeline="fulfil_order"), tuple[LifecycleEvent, ...])
    return entries.cursor


def keep_it_small() -> int:
    purged = purge(older_than=timedelta(days=90), states=[RunState.SUCCEEDED], pipeline="fulfil_order", limit=10_000)
    assert_type(purged, Purged)
    return purged.runs

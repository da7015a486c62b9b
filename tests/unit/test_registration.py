"""Steps as Celery tasks: names, options, bases, and existing tasks that become steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest
from celery import Celery, Task, shared_task

import backout
from backout import MessageRefused, NotDone, StepFailed, step
from backout.events import Event
from backout.ledger import schema
from backout.ledger.models import entry
from backout.pipelines.functions import find_function
from backout.pipelines.message import KEYWORD
from backout.tasks.runtime import Runtime
from tests.support.celery_apps import as_current, fresh_app

HERE: Final = __name__
FORCED: Final = {
    "acks_late": True,
    "reject_on_worker_lost": True,
    "acks_on_failure": True,
    "acks_on_timeout": True,
    "ignore_result": True,
    "serializer": "json",
    "max_retries": None,
}


Order = dict[str, str]
ORDER: Final[Order] = {"id": "order-1"}


@pytest.fixture
def app() -> Iterator[Celery]:
    """A Celery app that makes its tasks when they are asked for."""
    with fresh_app() as app:
        yield app


@pytest.fixture
def finalized_app() -> Iterator[Celery]:
    """A Celery app that has made its tasks before the test's steps are defined."""
    with fresh_app() as app:
        app.finalize()
        yield app


@pytest.fixture
def runtime(app: Celery, sqlite_url: str) -> Runtime:
    """The app with backout on a real ledger."""
    runtime = backout.install(app, database_url=sqlite_url)
    schema.upgrade(runtime.unverified_ledger)
    return runtime


def refusals(runtime: Runtime) -> list[str]:
    with runtime.ledger.transaction() as connection:
        rows = connection.execute(entry.select().where(entry.c.event == Event.MESSAGE_REFUSED.value)).all()
    return [row.detail["task"] for row in rows]


def test_every_function_is_a_task_under_its_own_dotted_name(app: Celery) -> None:
    """Routing, rate limits, Flower and logs show the names that the user wrote."""

    @step()
    def named_charge(order: Order) -> str:
        raise NotImplementedError

    @named_charge.compensation(action="refund")
    def named_refund(order: Order, charge: str | None) -> None:
        raise NotImplementedError

    @named_charge.reconcile
    def named_find(order: Order) -> str | NotDone:
        raise NotImplementedError

    for name in ("named_charge", "named_refund", "named_find"):
        assert app.tasks[f"{HERE}.{name}"].name == f"{HERE}.{name}"


def test_name_that_a_step_gives_itself_is_the_last_part_of_its_tasks(app: Celery) -> None:
    """A step keeps its task name when its function is renamed."""

    @step(name="stable_name", effect="read")
    def whatever(order: Order) -> None:
        """Look it up."""

    assert app.tasks[f"{HERE}.stable_name"].__doc__ == "Look it up."
    assert f"{HERE}.whatever" not in app.tasks


def test_step_defined_after_an_app_was_finalized_is_registered(finalized_app: Celery) -> None:
    """A module that is imported late, as by a shell, is not too late."""

    @step(effect="read")
    def late_comer(order: Order) -> None:
        raise NotImplementedError

    assert f"{HERE}.late_comer" in finalized_app.tasks


def test_app_made_after_a_step_gets_its_task() -> None:
    """Definitions need no Celery app, and serve each one that comes."""

    @step(effect="read")
    def early_bird(order: Order) -> None:
        raise NotImplementedError

    for name in ("first", "second"):
        with fresh_app(name) as app:
            assert app.tasks[f"{HERE}.early_bird"].app is app


class Careless(Task):
    """A project's base that would break what R1 needs."""

    acks_late = False
    reject_on_worker_lost = False
    acks_on_failure = False
    acks_on_timeout = False
    ignore_result = False
    serializer = "pickle"
    max_retries = 7


@pytest.mark.parametrize("option", FORCED)
def test_options_that_the_rules_need_are_forced(option: str) -> None:
    """Neither a project's base class nor its settings can acknowledge a message too early (R1)."""

    @step(effect="read")
    def forced_step(order: Order) -> None:
        raise NotImplementedError

    with fresh_app(task_cls=Careless) as app:
        app.conf.update(task_acks_late=False, task_ignore_result=False, task_acks_on_failure_or_timeout=False)
        task = app.tasks[f"{HERE}.forced_step"]
        assert isinstance(task, Careless)
        assert getattr(task, option) == FORCED[option]
        assert StepFailed in task.throws


def test_early_acknowledgement_is_the_users_explicit_choice(app: Celery) -> None:
    """A very long step may be acknowledged early, and is then not given back when its worker is lost."""

    @step(effect="read", ack="early")
    def very_long(order: Order) -> None:
        raise NotImplementedError

    task = app.tasks[f"{HERE}.very_long"]
    assert (task.acks_late, task.reject_on_worker_lost, task.ignore_result) == (False, False, True)


def test_celery_options_of_the_task_are_passed_on(app: Celery) -> None:
    """What Celery offers for a task class works for a step and for its compensation."""

    @step(rate_limit="10/m", track_started=True, base=Careless)
    def limited(order: Order) -> None:
        raise NotImplementedError

    @limited.compensation(action="undo", rate_limit="5/m")
    def undo_limited(order: Order, output: None) -> None:
        raise NotImplementedError

    task = app.tasks[f"{HERE}.limited"]
    assert isinstance(task, Careless)
    assert (task.rate_limit, task.track_started) == ("10/m", True)
    assert app.tasks[f"{HERE}.undo_limited"].rate_limit == "5/m"


entered: list[str] = []


class InContext(Task):
    """A base like Flask's and Django's, which opens something around each call."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        entered.append(self.name)
        return super().__call__(*args, **kwargs)


def test_call_of_a_custom_base_goes_around_the_engine(app: Celery, runtime: Runtime) -> None:
    """An application context that a project's task base opens is open while a step runs."""

    @step(effect="read", base=InContext)
    def in_context(order: Order) -> None:
        raise NotImplementedError

    entered.clear()
    result = app.tasks[f"{HERE}.in_context"].apply(kwargs={KEYWORD: {}})
    assert entered == [f"{HERE}.in_context"]
    assert isinstance(result.result, MessageRefused)


def test_step_that_is_called_like_a_task_is_refused_and_recorded(app: Celery, runtime: Runtime) -> None:
    """`.delay(order)` cannot run a step behind the ledger's back, and leaves a trace (R10)."""

    @step(effect="read")
    def called_directly(order: Order) -> None:
        raise NotImplementedError

    result = app.tasks[f"{HERE}.called_directly"].apply((ORDER,))
    assert isinstance(result.result, MessageRefused)
    assert refusals(runtime) == [f"{HERE}.called_directly"]


def test_module_that_is_imported_twice_is_no_trouble(app: Celery) -> None:
    """A script that is imported again under its own name warns of nothing, and its newest functions are called."""

    def import_module() -> Callable[..., Any]:
        def again(order: Order) -> None:
            raise NotImplementedError

        return again

    step(effect="read")(import_module())
    newest = import_module()
    step(effect="read")(newest)
    assert f"{HERE}.again" in app.tasks
    registered = find_function(f"{HERE}.again")
    assert registered is not None
    assert registered.call is newest


# --- Existing tasks ---------------------------------------------------------------------------------------------------


def make_task(app: Celery, name: str, **options: Any) -> Any:
    def reserve(order: Order) -> str:
        return f"reserved {order['id']}"

    # Not shared: Celery would make it anew in the apps of all later tests.
    return app.task(name=name, shared=False, **options)(reserve)


@pytest.mark.filterwarnings("ignore::celery.exceptions.CDeprecationWarning")  # Celery's, of `queue` on a task
def test_existing_task_keeps_its_name_and_options(app: Celery) -> None:
    """A project's task becomes a step without changing who sends it where."""
    task = make_task(app, "shop.tasks.reserve", queue="slow", priority=4, rate_limit="3/s", throws=(KeyError,))
    reserve = step.from_task(task, keep="it is released by the warehouse")
    app.finalize()
    assert (reserve.name, reserve.function.task_name) == ("reserve", "shop.tasks.reserve")
    assert (reserve.contract().options["queue"], reserve.contract().options["priority"]) == ("slow", 4)
    adopted = app.tasks["shop.tasks.reserve"]
    assert adopted is task._get_current_object()
    assert (adopted.queue, adopted.priority, adopted.rate_limit) == ("slow", 4, "3/s")
    assert adopted.throws == (KeyError, StepFailed)


def test_existing_task_gets_what_the_rules_need(app: Celery) -> None:
    """A message of the engine is acknowledged late, whatever the task's author chose (R1)."""
    task = make_task(app, "shop.tasks.late", acks_late=False)
    step.from_task(task, effect="read")
    app.finalize()
    adopted = app.tasks["shop.tasks.late"]
    assert (adopted.acks_late, adopted.reject_on_worker_lost) == (True, True)


@pytest.mark.parametrize("adopted_when", ["before finalize", "after finalize"])
def test_existing_task_is_still_called_as_before(app: Celery, adopted_when: str) -> None:
    """Every call that is not the engine's goes to the task's own function."""
    task = make_task(app, f"shop.tasks.called {adopted_when}")
    if adopted_when == "after finalize":
        app.finalize()
    reserve = step.from_task(task, effect="read")
    app.finalize()
    assert task.run(ORDER) == task(ORDER) == reserve(ORDER) == "reserved order-1"
    assert task.apply((ORDER,)).get() == "reserved order-1"
    assert task.apply(kwargs={"order": ORDER}).get() == "reserved order-1"


def test_existing_task_still_checks_the_arguments_of_its_callers(app: Celery) -> None:
    """A wrong call of the task is refused where it is made, as it was before it became a step."""
    task = make_task(app, "shop.tasks.strict")
    step.from_task(task, effect="read")
    app.finalize()
    with pytest.raises(TypeError, match="positional argument"):
        task.delay()


def test_message_of_the_engine_reaches_it_through_an_existing_task(app: Celery, runtime: Runtime) -> None:
    """Only a message that carries the engine's keyword is run as a step."""
    task = make_task(app, "shop.tasks.adopted")
    step.from_task(task, effect="read")
    result = app.tasks["shop.tasks.adopted"].apply(kwargs={KEYWORD: {}})
    assert isinstance(result.result, MessageRefused)
    assert refusals(runtime) == ["shop.tasks.adopted"]


def test_existing_task_may_be_bound_and_have_a_base_of_its_own(app: Celery) -> None:
    """A task's `self` does not count as its input, and its base's `__call__` still goes around it."""

    @app.task(name="shop.tasks.bound", bind=True, base=InContext, shared=False)
    def bound(self: Any, order: Order) -> str:
        return f"{self.name} {order['id']}"

    bound_step = step.from_task(bound, effect="read")
    app.finalize()
    entered.clear()
    assert bound_step(ORDER) == bound.apply((ORDER,)).get() == "shop.tasks.bound order-1"
    assert entered == ["shop.tasks.bound"]


def test_existing_task_is_taken_over_once(app: Celery) -> None:
    """A task that becomes a step twice, as in two modules, still calls its own function."""
    task = make_task(app, "shop.tasks.twice")
    first = step.from_task(task, effect="read")
    app.finalize()
    run = app.tasks["shop.tasks.twice"].run
    second = step.from_task(task, effect="read", name="again")
    assert app.tasks["shop.tasks.twice"].run is run
    assert app.tasks["shop.tasks.twice"].throws.count(StepFailed) == 1
    assert (first.name, second.name) == ("reserve", "again")
    assert first(ORDER) == second(ORDER) == task.run(ORDER) == "reserved order-1"


def test_shared_task_becomes_a_step_in_every_app(app: Celery, finalized_app: Celery) -> None:
    """A reusable app's task is taken over wherever it is registered."""

    @shared_task(name="shop.tasks.shared")
    def shared(order: Order) -> str:
        return f"shared {order['id']}"

    with fresh_app("current") as current, as_current(current):
        step.from_task(shared, effect="read")
    for each in (app, finalized_app):
        task = each.tasks["shop.tasks.shared"]
        assert task.acks_late
        assert task.apply((ORDER,)).get() == "shared order-1"

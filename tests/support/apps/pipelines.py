"""Pipelines whose steps do what the input of their run tells them, so that each test writes its own story.

Definitions only: the Celery apps that run them are beside this module.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from backout import (
    AskHuman,
    CompensationContext,
    FailStep,
    InDoubt,
    NotDone,
    ParkRun,
    Pipeline,
    Retry,
    RetryStep,
    SkipStep,
    Step,
    StepContext,
    Unknown,
    step,
)
from backout.pipelines.decorators import DecoratedStep
from tests.support.apps import names
from tests.support.apps.outside import Outside, kill

INSIDE = "inside"
"""The place in a step's function after its effect; the engine's own fault points are around the function."""
TWICE = Retry(limit=2, delay=0.1, backoff="constant", jitter=0)


class Job(BaseModel):
    """The input of every run.

    Attributes:
        script: what a step does, by its name (`undo <step>` for its compensation): one word for each attempt, the last
            one for all that follow; without words it succeeds. The words are the keys of `_ENDINGS`.
    """

    customer: str = "c-1"
    script: dict[str, list[str]] = {}


class Receipt(BaseModel):
    """The output of every step."""

    step: str
    attempt: int


def outside() -> Outside:
    """Return the outside world that the environment names."""
    return Outside(Path(os.environ[names.OUTSIDE]))


def act(job: Job, ctx: StepContext, what: str) -> Receipt:
    """Have the effect, record its id, and end as the script says."""
    word, argument = words_of(job, what, ctx.attempt)
    world = outside()
    if word == "die_first":
        kill("child")
    if word not in ("skip", "no_effect"):
        world.book(ctx.run_id, what=what, key=ctx.idempotency_key, attempt=ctx.attempt)
        ctx.record_external_id(what, f"{what}-{ctx.attempt}")
    world.strike(f"{ctx.run_id} {what} {INSIDE}")
    _ENDINGS[word](world, argument)
    return Receipt(step=what, attempt=ctx.attempt)


def _raise(make: Callable[[str], Exception]) -> Callable[[Outside, str], None]:
    def ending(_: Outside, argument: str) -> None:
        raise make(argument)

    return ending


_ENDINGS: dict[str, Callable[[Outside, str], None]] = {
    "ok": lambda world, argument: None,
    "hold": lambda world, gate: world.hold(gate),
    "die": lambda world, argument: kill("child"),
    "error": _raise(lambda text: RuntimeError(text or "no answer")),
    "connection": _raise(lambda text: ConnectionError(text or "line is dead")),
    "value": _raise(lambda text: ValueError(text or "no such account")),
    "retry": _raise(lambda seconds: RetryStep("busy", after=timedelta(seconds=float(seconds)))),
    "fail": _raise(lambda text: FailStep(text or "refused for good")),
    "no_effect": _raise(lambda text: FailStep(text or "refused before anything happened", no_effect=True)),
    "doubt": _raise(lambda text: InDoubt(text or "no answer in time")),
    "skip": _raise(lambda text: SkipStep(text or "nothing to do")),
    "park": _raise(lambda text: ParkRun(text or "the shop is closed")),
    "ask": _raise(lambda code: AskHuman(code, "somebody must look")),
}


COMPANIONS = {"undo_": "undo ", "find_": "find ", "see_": "see "}


def told_name(task: str) -> str:
    """Return the name in scripts and books of the function that a task runs: `undo money` for `undo_money`."""
    for start, word in COMPANIONS.items():
        if task.startswith(start):
            return f"{word}{task.removeprefix(start)}"
    return task


def words_of(job: Job, what: str, attempt: int) -> tuple[str, str]:
    """Return the word of the script for an attempt, and what stands after its colon."""
    words = job.script.get(what, ["ok"])
    word, _, argument = words[min(attempt, len(words)) - 1].partition(":")
    return word, argument


def look_up(job: Job, ctx: StepContext, what: str) -> Receipt | NotDone | Unknown | None:
    """Say what the bank's books say of a key, unless the script says something else."""
    word, argument = words_of(job, f"find {what}", ctx.attempt)
    world = outside()
    world.strike(f"{ctx.run_id} find {what} {INSIDE}")
    world.tell(f"{ctx.run_id} find {what}", {"ids": dict(ctx.external_ids), "key": ctx.idempotency_key})
    if word == "unknown":
        return Unknown(argument or "the bank is closed")
    if word == "deny":
        return NotDone()
    if word == "forget":
        return None
    _ENDINGS[word](world, argument)
    booked = [line for line in world.lines(ctx.run_id) if line.what == what and line.key == ctx.idempotency_key]
    return Receipt(step=what, attempt=booked[-1].attempt) if booked else NotDone()


def look_at(job: Job, output: Receipt, ctx: StepContext, what: str) -> bool:
    """Say whether what was published is seen, as the script says."""
    word, argument = words_of(job, f"see {what}", ctx.attempt)
    world = outside()
    world.strike(f"{ctx.run_id} see {what} {INSIDE}")
    world.tell(f"{ctx.run_id} see {what}", {"output": output.model_dump(), "key": ctx.idempotency_key})
    if word in ("no", "maybe"):
        return word if word == "maybe" else False  # type: ignore[return-value]  # a wrong answer is tried too
    _ENDINGS[word](world, argument)
    return True


def make_step(
    name: str,
    *,
    undo: dict[str, Any] | None = None,
    find: dict[str, Any] | None = None,
    see: dict[str, Any] | None = None,
    retry: Retry = TWICE,
    **contract: Any,
) -> Step[..., Any]:
    """Return a step that acts as its run's script says.

    Args:
        name: of the step and of its task.
        undo: options of its compensation; `None` where it has none.
        find: options of its reconcile function, called `find <name>` in scripts.
        see: options of its verify function, called `see <name>` in scripts.
        retry: of the step.
        contract: as for `@step`.
    """

    def run(job: Job, ctx: StepContext) -> Receipt:
        return act(job, ctx, name)

    made: DecoratedStep[..., Any] = step(name=name, retry=retry, **contract)(run)
    if undo is not None:

        def run_back(job: Job, output: Receipt | None, ctx: CompensationContext) -> Receipt:
            note_context(output, ctx)
            return act(job, ctx, f"undo {name}")

        options = {"action": f"take the {name} back", "retry": TWICE, "idempotent": True, **undo}
        made.compensation(name=f"undo_{name}", **options)(run_back)
    if find is not None:

        def find_out(job: Job, ctx: StepContext) -> Receipt | NotDone | Unknown | None:
            return look_up(job, ctx, name)

        made.reconcile(name=f"find_{name}", **{"retry": TWICE, **find})(find_out)
    if see is not None:

        def is_seen(job: Job, output: Receipt, ctx: StepContext) -> bool:
            return look_at(job, output, ctx, name)

        made.verify(name=f"see_{name}", **{"retry": TWICE, **see})(is_seen)
    return made


def note_context(output: Receipt | None, ctx: CompensationContext) -> None:
    """Write down what a compensation was told, for the test to read."""
    undoes = ctx.undoes
    told = {
        "name": undoes.name,
        "attempts": undoes.attempts,
        "retry_limit": undoes.retry.limit,
        "retry_delay_seconds": undoes.retry.delay_seconds,
        "timeout_seconds": undoes.timeout.total_seconds(),
        "output": output.model_dump() if output is not None else None,
        "undoes_output": undoes.output.model_dump() if undoes.output is not None else None,
        "external_ids": dict(undoes.external_ids),
        "all_external_ids": dict(ctx.external_ids),
        "idempotency_key": undoes.idempotency_key,
        "own_idempotency_key": ctx.idempotency_key,
        "error": dict(undoes.error) if undoes.error is not None else None,
        "cause": ctx.cause,
        "requested_by": ctx.requested_by,
        "subject_id": ctx.subject_id,
        "pipeline": ctx.pipeline,
    }
    outside().tell(f"{ctx.run_id} {ctx.step}", told)


def subject(job: Job) -> str:
    """Return whom a run is about."""
    return job.customer


def pipeline(name: str, steps: Sequence[Step[..., Any]]) -> Pipeline:
    """Return a pipeline about the job's customer."""
    return Pipeline(name, list(steps), subject=subject)


UNDO: dict[str, Any] = {}
goods = make_step("goods", idempotent=True, undo=UNDO)
money = make_step("money", idempotent=True, undo=UNDO)
parcel = make_step("parcel", idempotent=True, undo=UNDO)
ORDER = pipeline("order", [goods, money, parcel])
"""Every step and every compensation may be run again under its key."""

EARLY = pipeline("early", [goods, make_step("money_early", idempotent=True, undo=UNDO, ack="early"), parcel])
"""The message of the step in the middle is acknowledged when it starts."""

ASKING: dict[str, Any] = {}
money_asked = make_step("money_asked", undo=UNDO, find=ASKING)
ASKED = pipeline("asked", [goods, money_asked, parcel])
"""Nobody may run the step in the middle again without asking the bank; what undoes it may be run again."""
goods_asked = make_step("goods_asked", undo=UNDO, find=ASKING, on_failure="continue")
ASKED_TWICE = pipeline("asked_twice", [goods_asked, money_asked, make_step("parcel_asked", undo=UNDO, find=ASKING)])
"""Every step must be asked about, and the first one may fail."""
money_slow = make_step("money_slow", undo=UNDO, find=ASKING, timeout=timedelta(seconds=1))
SLOW = pipeline("slow", [goods, money_slow])
"""A step that is soon taken for lost."""
money_lost = make_step("money_lost", undo=UNDO, idempotent=True, timeout=timedelta(seconds=1), retry=Retry(limit=0))
LOSING = pipeline("losing", [goods, money_lost])
"""As before, but it runs again at once when an attempt is lost."""

deadly = make_step("deadly", undo=UNDO, find={})
DEADLY = pipeline("deadly", [deadly])
"""Its worker dies before the bank is called, each time."""

page = make_step("page", effect="publish", undo=UNDO, see=ASKING)
PUBLISHED = pipeline("published", [goods, page, parcel])
PUBLISHED_LAST = pipeline("published_last", [goods, page])
page_choosy = make_step(
    "page_choosy", effect="publish", undo=UNDO, see={"retry": Retry(limit=2, delay=0.1, jitter=0, on=(OSError,))}
)
PUBLISHED_CHOOSY = pipeline("published_choosy", [page_choosy])
page_asked = make_step("page_asked", effect="publish", undo=UNDO, find=ASKING, see=ASKING)
PUBLISHED_ASKED = pipeline("published_asked", [goods, page_asked])

money_once = make_step("money_once", undo={"idempotent": False})
ONCE = pipeline("once", [goods, money_once, parcel])
"""The step in the middle may not be run again when nobody knows how it ended; neither may its compensation."""

note = make_step("note", keep="it does no harm", idempotent=True)
look = make_step("look", effect="read")
letter = make_step("letter", effect="notify", irreversible="a letter cannot be unsent", idempotent=True)
KEPT_LAST = pipeline("kept_last", [goods, make_step("note_choosy", keep="it does no harm")])
KEEPING = pipeline("keeping", [goods, note, look, parcel])
IRREVERSIBLE = pipeline("irreversible", [goods, letter, parcel])

NOTED = pipeline("noted", [goods, note])
"""Its last step stays when it is rolled back."""

money_private = make_step("money_private", idempotent=True, undo=UNDO, sensitive=("money_private", "step"))
PRIVATE = Pipeline("private", [goods, money_private], sensitive=("customer",))
"""Nobody may see whom it is about, nor the payment's id."""

PARKING = pipeline("parking", [goods, make_step("money_park", undo=UNDO, on_failure="park")])
CONTINUING = pipeline("continuing", [goods, make_step("money_continue", undo=UNDO, on_failure="continue"), parcel])
REVIEWING = pipeline("reviewing", [goods, make_step("money_review", undo=UNDO, on_failure="review")])

money_lenient = make_step("money_lenient", idempotent=True, undo={"on_failure": "continue"})
LENIENT = pipeline("lenient", [goods, money_lenient, parcel])
"""The rollback goes on when the compensation in the middle fails."""

LONG_NAMES = tuple(f"room{number}" for number in range(1, 9))
LONG = pipeline("long", [make_step(name, idempotent=True, undo=UNDO) for name in LONG_NAMES])
"""Longer than one chain, which has `making.LINKS` links in the test app."""

exponential = make_step("exponential", keep="-", retry=Retry(limit=4, delay=0.1, max_delay=0.3, jitter=0))
linear = make_step("linear", keep="-", retry=Retry(limit=3, delay=0.1, backoff="linear", jitter=0))
late = make_step("late", keep="-", retry=Retry(limit=2, delay=1.0, backoff="constant", jitter=0))
hours = make_step("hours", keep="-", retry=Retry(limit=2, delay=timedelta(hours=1), backoff="constant", jitter=0))
choosy = make_step(
    "choosy", keep="-", retry=Retry(limit=2, delay=0.1, on=(OSError, ValueError), never_on=(ValueError,), jitter=0)
)
EXPONENTIAL = pipeline("exponential", [exponential])
LINEAR = pipeline("linear", [linear])
LATE = pipeline("late", [late])
HOURS = pipeline("hours", [hours])
hurried = make_step("hurried", undo=UNDO, retry=Retry(limit=2, delay=timedelta(hours=1), backoff="constant", jitter=0))
HURRIED = Pipeline("hurried", [goods, hurried, parcel], subject=subject, deadline=timedelta(seconds=2))
"""A run that must be finished soon, with a step that waits for an hour between its attempts."""
CHOOSY = pipeline("choosy", [choosy])

QUICKLY = timedelta(seconds=0.7)
quick = make_step("quick", timeout=QUICKLY, idempotent=True, undo=UNDO)
quick_once = make_step("quick_once", timeout=QUICKLY, undo=UNDO)
quick_asked = make_step("quick_asked", timeout=QUICKLY, undo=UNDO, find=ASKING)
QUICK = pipeline("quick", [quick])
QUICK_ASKED = pipeline("quick_asked", [quick_asked])
QUICK_ONCE = pipeline("quick_once", [quick_once])


@step(effect="read")
def sum_up(job: Job, ctx: StepContext) -> dict[str, Any]:
    """Read the outputs and ids of the steps before."""
    bought = ctx.output(goods)
    return {
        "type": type(bought).__name__,
        "goods": bought.attempt,
        "money": ctx.output("money"),
        "ids": dict(ctx.external_ids),
    }


SUMMED = pipeline("summed", [goods, money, sum_up])

SHORT_LINE = pipeline("line-short", [look.named(f"look-{number:03}") for number in range(3)])
LONG_LINE = pipeline("line-long.", [look.named(f"look-{number:03}") for number in range(300)])
"""The same steps under names of the same length."""

unheard = make_step("unheard", idempotent=True, undo={"queue": "nobody"}, queue="nobody", priority=7)
UNHEARD = pipeline("unheard", [goods, unheard])
"""Its second step goes to a queue that no worker of the tests reads."""
stuck = make_step("stuck", idempotent=True, undo={"queue": "nobody"}, rate_limit="100/s")
STUCK = pipeline("stuck", [goods, money, stuck])
"""Its rollback begins in a queue that no worker of the tests reads."""
STUCK_LONG = pipeline("stuck_long", [*LONG.steps[:4], stuck])

keyed = make_step("keyed", idempotency_key=subject, idempotent=True, undo=UNDO)
KEYED = pipeline("keyed", [keyed, parcel])
"""The key of its first step is the customer's, the same for all runs of one customer."""

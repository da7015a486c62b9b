"""The pipelines of the shop. Every function notes where it ran."""

from __future__ import annotations

from flask import current_app
from pydantic import BaseModel
from sqlalchemy import func, select

from backout import FailStep, InDoubt, Pipeline, Retry, StepContext, step
from tests.integrations.flask.project.database import Note, db

AT_ONCE = Retry(limit=2, delay=0.1, jitter=0)


class Wish(BaseModel):
    name: str


def note(what: str, ctx: StepContext) -> None:
    """Write down who ran where, and how many connections earlier tasks have left open; leave one open."""
    left_open = db.engine.pool.checkedout()  # type: ignore[attr-defined]  # not every pool counts
    db.session.add(Note(run_id=str(ctx.run_id), text=f"{what} in {current_app.config['SHOP_NAME']}, {left_open} open"))
    db.session.commit()
    db.session.execute(select(func.count()).select_from(Note))


@step(effect="write", idempotent=True, keep="a packed parcel harms nobody", retry=AT_ONCE)
def pack(wish: Wish, ctx: StepContext) -> str:
    note("pack", ctx)
    return "parcel"


ship = Pipeline("ship", [pack], subject=lambda wish: wish.name)


@step(effect="write", retry=AT_ONCE)
def reserve(wish: Wish, ctx: StepContext) -> str:
    note("reserve", ctx)
    raise InDoubt("the warehouse did not answer")


@reserve.compensation(action="release the goods", idempotent=True)
def release(wish: Wish, reserved: str | None, ctx: StepContext) -> None:
    note("release", ctx)


@reserve.reconcile
def find_reservation(wish: Wish, ctx: StepContext) -> str:
    note("find_reservation", ctx)
    return "reserved"


@step(effect="publish", idempotent=True, keep="an old page harms nobody", retry=AT_ONCE)
def announce(wish: Wish, ctx: StepContext) -> str:
    note("announce", ctx)
    return "announced"


@announce.verify
def is_announced(wish: Wish, announced: str, ctx: StepContext) -> bool:
    note("is_announced", ctx)
    return True


@step(effect="write", idempotent=True, keep="nothing happened", retry=AT_ONCE)
def deliver(wish: Wish, ctx: StepContext) -> str:
    note("deliver", ctx)
    raise FailStep("no courier goes there", no_effect=True)


every_kind = Pipeline("every_kind", [reserve, announce, deliver], subject=lambda wish: wish.name)

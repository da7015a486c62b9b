"""The pages of the shop: an order and the run that fulfils it, in one transaction."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from flask import Blueprint, current_app, request
from sqlalchemy import event

from tests.integrations.flask.project.database import Order, db
from tests.integrations.flask.project.pipelines import Wish, ship

views = Blueprint("shop", __name__)


class OutOfStock(Exception):
    """Raised by the business after everything was written."""


@views.post("/orders")
def order() -> tuple[dict[str, Any], int]:
    """Take an order; `app.config["SHOP_STRIKE"]` may end the process at any of the places that are named."""
    strike: Callable[[str], None] = current_app.config.get("SHOP_STRIKE", lambda _: None)
    name = request.form["name"]
    # Listened for before `enqueue` does: the process may end between the commit and what backout does after it.
    event.listen(db.session(), "before_commit", lambda _: strike("in the commit"))
    event.listen(db.session(), "after_commit", lambda _: strike("after the commit"))
    db.session.add(Order(name=name))
    db.session.flush()
    strike("before enqueue")
    run = ship.enqueue(Wish(name=name), session=db.session)
    if request.form.get("beside"):
        order_beside(request.form["beside"])
    strike("after enqueue")
    if request.form.get("out_of_stock"):
        raise OutOfStock
    db.session.commit()
    strike("after the send")
    return {"run": run.id}, 201


def order_beside(name: str) -> None:
    """Take another order in a savepoint, and take it back."""
    with contextlib.suppress(OutOfStock), db.session.begin_nested():
        db.session.add(Order(name=name))
        db.session.flush()
        ship.enqueue(Wish(name=name), session=db.session)
        raise OutOfStock

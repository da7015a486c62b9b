"""The pages for customers: the form, and what became of a booking."""

import uuid

from flask import Blueprint, Response, redirect, render_template, request, url_for
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from werkzeug.wrappers import Response as Answer

from examples.flask_booking.models import Booking, Trouble, db
from examples.flask_booking.pipelines import Wish, book_slot

SLOTS = [f"{day} {hour}:00" for day in ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday") for hour in (9, 11, 14)]
TROUBLES = {
    Trouble.NONE: "nothing",
    Trouble.CONFIRMATION: "the studio does not confirm",
    Trouble.RELEASE: "the studio does not confirm, and does not take the slot back either",
    Trouble.MAIL: "the mail cannot be sent",
}
views = Blueprint("site", __name__)


@views.get("/")
def show_form() -> str:
    """Show the form; it has an id of its own, so that a second click on its button books nothing more."""
    return render_template("book.html", slots=SLOTS, troubles=TROUBLES, form_id=uuid.uuid4().hex)


@views.post("/")
def book() -> Answer:
    """Take a booking: it and its run are committed together, or neither is."""
    given = request.form
    booking = Booking(
        form=given["form"], name=given["name"], email=given["email"], slot=given["slot"], trouble=given["trouble"]
    )
    db.session.add(booking)
    try:
        db.session.flush()  # gives it its number
        wish = Wish(booking=booking.id, email=booking.email, slot=booking.slot)
        book_slot.enqueue(wish, source_event_id=booking.form, session=db.session)
        db.session.commit()
    except IntegrityError:
        db.session.rollback()  # a second click on the same form
    return redirect(url_for(".show_booking", form=given["form"]), 303)


@views.get("/bookings/<form>")
def show_booking(form: str) -> str | Response:
    """Tell the customer how far the booking is."""
    booking = find_booking(form)
    run = book_slot.find_run(form)
    if booking is None or run is None:
        return Response(render_template("unknown.html"), 404)
    is_settled = run.status().state.is_settled
    return render_template("booking.html", booking=booking, message=run.customer_message, is_settled=is_settled)


def find_booking(form: str) -> Booking | None:
    """Return the booking that was made by a form; None when there is none."""
    found: Booking | None = db.session.scalars(select(Booking).where(Booking.form == form)).one_or_none()
    return found

"""The pages for staff: all bookings, with what their customers are told. Everybody else is sent to the login."""

import hmac
import re

from flask import Blueprint, abort, flash, redirect, render_template, request, session, url_for
from sqlalchemy import select
from werkzeug.wrappers import Response as Answer

from examples.flask_booking.models import Booking, Trouble, db
from examples.flask_booking.pipelines import book_slot

PASSWORDS = {"demo": "demo"}
"""A real site has none in its code; here everybody may try."""
staff = Blueprint("staff", __name__)


def require_login() -> str:
    """Return the name of whoever is logged in; send everybody else to the login, and then back."""
    name = session.get("staff")
    if name not in PASSWORDS:
        wanted = request.full_path if request.method == "GET" else url_for("staff.bookings")
        abort(redirect(url_for("staff.log_in", next=wanted)))
    return str(name)


@staff.get("/")
def bookings() -> str:
    """Show the newest bookings first."""
    require_login()
    newest = db.session.scalars(select(Booking).order_by(Booking.id.desc()).limit(50))
    return render_template("bookings.html", rows=[(one, book_slot.find_run(one.form)) for one in newest])


@staff.post("/bookings/<int:number>/mend")
def mend(number: int) -> Answer:
    """Let nothing go wrong with a booking any more, as if the studio had opened again."""
    require_login()
    booking = db.get_or_404(Booking, number)
    booking.trouble = Trouble.NONE.value
    db.session.commit()
    flash(f"The studio answers again for booking {number}.")
    return redirect(url_for(".bookings"), 303)


@staff.route("/login", methods=["GET", "POST"])
def log_in() -> str | Answer:
    """Ask for name and password."""
    if request.method == "GET":
        return render_template("login.html", is_wrong=False)
    name = request.form["name"]
    is_right = hmac.compare_digest(PASSWORDS.get(name, "").encode(), request.form["password"].encode())
    if not is_right or name not in PASSWORDS:
        return render_template("login.html", is_wrong=True)
    session.clear()
    session["staff"] = name
    wanted = request.args.get("next", "")
    return redirect(wanted if is_ours(wanted) else url_for(".bookings"), 303)


def is_ours(url: str) -> bool:
    """Return whether a URL leads to a page of this site: browsers drop tabs, and take two slashes for another site."""
    return re.fullmatch(r"/(?![/\\])[\x21-\x5b\x5d-\x7e]*", url) is not None


@staff.post("/logout")
def log_out() -> Answer:
    """Forget who is logged in."""
    session.clear()
    return redirect(url_for("site.show_form"), 303)

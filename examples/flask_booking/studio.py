"""The outside world: the studio's calendar, which knows idempotency keys, and a mailer."""

import hashlib
import logging

from sqlalchemy import update
from sqlalchemy.exc import IntegrityError

from examples.flask_booking.models import Mail, Reservation, db

logger = logging.getLogger(__name__)


class Taken(Exception):
    """Somebody else has the slot; nothing was reserved."""


class Declined(Exception):
    """The studio says no, and will not change its mind."""


class Closed(Exception):
    """The studio does not answer at the moment."""


def reserve(slot: str, *, key: str) -> str:
    """Keep a slot, and return the reservation's number; the same key again keeps it once."""
    known = find(key)
    if known is not None:
        return known
    number = f"R-{hashlib.sha256(key.encode()).hexdigest()[:6].upper()}"
    db.session.add(Reservation(key=key, number=number, slot=slot))
    try:
        db.session.commit()
    except IntegrityError as error:
        db.session.rollback()
        raise Taken(f"{slot} is taken") from error
    return number


def find(key: str) -> str | None:
    """Return the number of what was reserved under a key; None when nothing was."""
    found = db.session.get(Reservation, key)
    return found.number if found is not None and not found.is_released else None


def confirm(number: str, *, declines: bool) -> None:
    """Make a reservation a booking."""
    if declines:
        raise Declined("the studio is closed on that day")
    db.session.execute(update(Reservation).where(Reservation.number == number).values(is_confirmed=True))
    db.session.commit()


def release(key: str, *, is_closed: bool) -> None:
    """Give a slot back, if it was reserved."""
    if is_closed:
        raise Closed("nobody answers at the studio")
    db.session.execute(update(Reservation).where(Reservation.key == key).values(is_released=True))
    db.session.commit()


def send_mail(address: str, text: str, *, key: str, is_broken: bool) -> str:
    """Send a mail; return its id."""
    if is_broken:
        raise Closed("the mail server does not answer")
    db.session.add(Mail(key=key, address=address, text=text))
    db.session.commit()
    logger.warning("mail to %s: %s", address, text)
    return f"<{key}@studio.example>"


def find_mail(key: str) -> str | None:
    """Return the id of the mail that was sent under a key; None when none was."""
    return f"<{key}@studio.example>" if db.session.get(Mail, key) is not None else None

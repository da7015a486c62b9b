"""What the site knows: its bookings. And, because a real one is not at hand, what the studio's calendar knows."""

import enum

from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import Index, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    pass


db = SQLAlchemy(model_class=Base)


class Trouble(enum.StrEnum):
    """What goes wrong with a booking, because somebody wants to see it."""

    NONE = "none"
    CONFIRMATION = "confirmation"
    RELEASE = "release"
    MAIL = "mail"


class Booking(db.Model):  # type: ignore[name-defined]  # made when the program runs
    """Attributes: `form` tells two clicks on one form from two forms; the customer finds the booking by it."""

    id: Mapped[int] = mapped_column(primary_key=True)
    form: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    email: Mapped[str]
    slot: Mapped[str]
    trouble: Mapped[str] = mapped_column(default=Trouble.NONE.value)


class Reservation(db.Model):  # type: ignore[name-defined]  # made when the program runs
    """A page of the studio's calendar; only `studio.py` reads and writes it."""

    __table_args__ = (Index("one_for_each_slot", "slot", unique=True, sqlite_where=text("is_released = 0")),)
    key: Mapped[str] = mapped_column(primary_key=True)
    number: Mapped[str] = mapped_column(unique=True)
    slot: Mapped[str]
    is_confirmed: Mapped[bool] = mapped_column(default=False)
    is_released: Mapped[bool] = mapped_column(default=False)


class Mail(db.Model):  # type: ignore[name-defined]  # made when the program runs
    """What the mailer has sent; only `studio.py` reads and writes it."""

    key: Mapped[str] = mapped_column(primary_key=True)
    address: Mapped[str]
    text: Mapped[str]

"""The extensions of the shop and its tables."""

from __future__ import annotations

from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from backout.integrations.flask import Backout


class Base(DeclarativeBase):
    pass


db = SQLAlchemy(model_class=Base)
backout = Backout()


class Order(db.Model):  # type: ignore[name-defined]  # made at run time
    __tablename__ = "shop_order"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)


class Note(db.Model):  # type: ignore[name-defined]  # made at run time
    __tablename__ = "shop_note"
    id: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[str]
    text: Mapped[str]

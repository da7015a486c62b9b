"""The databases that a session of Flask-SQLAlchemy can reach: its binds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from flask import current_app, has_app_context


def engines_of(session: Any) -> Iterable[Any]:
    """Return the engines of the binds that a session of the current app may use; none for any other session."""
    database = current_app.extensions.get("sqlalchemy") if has_app_context() else None
    if database is None or not isinstance(session, database.session.session_factory.class_):
        return []
    return list(database.engines.values())

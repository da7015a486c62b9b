"""Ask a database whether a pipeline has ended, in the same cheap way for all that keep it in one.

Not through the libraries: outside a prefork child Celery's database backend makes an engine for every question, which
would count as the chain's latency.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from sqlalchemy import Engine, text


def ask_state(engine: Engine, statement: str, subject: str, *, ended: Collection[str]) -> Callable[[], bool]:
    """Return a function that tells whether the state of a row is one of those that are an end.

    Args:
        engine: of the database.
        statement: selects the state where `:id` is the subject; no row is no end.
        subject: the id.
        ended: the states.
    """
    query = text(statement)

    def has_ended() -> bool:
        with engine.connect() as connection:
            return connection.execute(query, {"id": subject}).scalar_one_or_none() in ended

    return has_ended

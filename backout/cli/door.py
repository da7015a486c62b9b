"""How a command finds its ledger: a URL first, then the Celery app, else an error that says what to give."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import click
from click.core import ParameterSource

from backout.cli.lazy import load
from backout.errors import ConfigurationError
from backout.ledger import queries, schema
from backout.ledger.session import Ledger

CONNECTIONS: Final = 1
"""A command asks one question after the other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """The command line of a framework in which the commands run; given to the group as `obj`.

    Attributes:
        app: the framework's Celery app.
        start: how a command is typed there: `flask backout`.
    """

    app: Any
    start: str


@contextmanager
def open_ledger(ctx: click.Context, *, verified: bool = True) -> Iterator[Ledger]:
    """Open the ledger that is meant; its connections are closed at the end.

    Args:
        ctx: of the command.
        verified: refuse a ledger whose schema is not the one of this release.

    Raises:
        ConfigurationError: no ledger is named, it cannot be reached, or (`SchemaMismatch`) its schema is another.
    """
    ledger = Ledger(_find_url(ctx), pool_size=CONNECTIONS)
    try:
        with translate_failures(ledger):
            if verified:
                schema.verify(ledger)
            yield ledger
    finally:
        ledger.dispose()


@contextmanager
def translate_failures(ledger: Ledger) -> Iterator[None]:
    """Turn what the database says, when it cannot be used, into an error with a remedy.

    Raises:
        ConfigurationError: the database refused.
    """
    try:
        yield
    except Exception as error:
        said = queries.describe_failure(error)
        if said is None:
            raise
        raise ConfigurationError(
            problem=f"the ledger {ledger.shown_url} cannot be used: {said}",
            remedy="Check that the database runs, and that the URL names it with a user who may use it.",
        ) from error


def find_app(ctx: click.Context) -> Any | None:
    """Return the Celery app that is meant; `None` when none is named.

    Raises:
        ConfigurationError: it cannot be imported.
    """
    name = _find_option(ctx, "app_name")
    if name is not None:
        return load("backout.cli.celery_app:import_app")(name)
    # Celery's own command leaves its context in `obj`, a framework's its `Host`.
    app = getattr(ctx.obj, "app", None)
    if app is not None:
        load("backout.cli.celery_app:set_up_django")()
    return app


def named_database(ctx: click.Context) -> str | None:
    """Return the URL of the ledger that was given as an option; `None` when none was."""
    return _find_option(ctx, "database")


def named_app(ctx: click.Context) -> str | None:
    """Return the name by which the Celery app was given, here or to Celery's own command; `None` when it was not."""
    name = _find_option(ctx, "app_name") or ctx.find_root().params.get("app")
    return name if isinstance(name, str) else None


def say_start(ctx: click.Context) -> str:
    """Return how a command that means the same ledger starts: `backout`, `celery -A proj backout` and the like.

    What comes from the environment is not repeated, and a URL that may hold a password is not shown.
    """
    if _find_option(ctx, "app_name") is None and isinstance(ctx.obj, Host):
        return ctx.obj.start
    if _find_option(ctx, "app_name") is None and find_app(ctx) is not None:
        return f"celery -A {shlex.quote(named_app(ctx) or 'APP')} backout"
    given = []
    app, url = named_app(ctx), named_database(ctx)
    if app is not None and _is_typed(ctx, "app_name"):
        given.append(f"--app {shlex.quote(app)}")
    if url is not None and _is_typed(ctx, "database"):
        given.append(f"--database {shlex.quote(url) if '@' not in url else 'URL'}")
    return " ".join(["backout", *given])


def _is_typed(ctx: click.Context, name: str) -> bool:
    at: click.Context | None = ctx
    while at is not None:
        if name in at.params:
            return at.get_parameter_source(name) is not ParameterSource.ENVIRONMENT
        at = at.parent
    return False


def _find_url(ctx: click.Context) -> str:
    url = named_database(ctx)
    if url is not None:
        return url
    app = find_app(ctx)
    if app is None:
        raise ConfigurationError(
            problem="no ledger is named",
            remedy=(
                "Give `backout --database URL …` (or set BACKOUT_DATABASE_URL), or the Celery app that uses it: "
                "`celery -A proj backout …` or `backout --app proj …`."
            ),
        )
    found: str = load("backout.cli.celery_app:database_url_of")(app)
    return found


def _find_option(ctx: click.Context, name: str) -> str | None:
    """Return an option of the group; read from the contexts, because completion does not call the group."""
    at: click.Context | None = ctx
    while at is not None:
        if name in at.params:
            value: str | None = at.params[name] or None
            return value
        at = at.parent
    return None

"""Whether a form was sent from our pages, by whoever they were shown to: tokens, and where a request is from."""

from __future__ import annotations

import secrets
from typing import Any, Final

from flask import Flask, Request, current_app, session
from itsdangerous import BadSignature, URLSafeTimedSerializer
from markupsafe import Markup

from backout.errors import ConfigurationError
from backout.web.origin import is_from_here

FIELD: Final = "backout_token"
TOKEN_SECONDS: Final = 12 * 60 * 60
"""How long a form may be open before it is sent."""
_SALT: Final = "backout.integrations.flask"
_SESSION_KEY: Final = "_backout"
"""What ties tokens to the session: a random text that only this browser's cookie has."""


def require_secret_key(app: Flask) -> None:
    """Refuse an app that cannot sign anything.

    Raises:
        ConfigurationError: it has no secret key.
    """
    if not app.secret_key:
        raise ConfigurationError(
            problem=f"the Flask app {app.name!r} has no secret key, with which the forms of the pages are signed",
            remedy="Set SECRET_KEY in app.config before the blueprint is registered, for example to the output of "
            "`python -c 'import secrets; print(secrets.token_hex())'`, and keep it from others.",
        )


def make_hidden_field(actor: str) -> Markup:
    """Return the field that proves a form to be ours, and shown to this person in this session.

    Beside it the one of Flask-WTF's `CSRFProtect`, if that guards the whole app.
    """
    key = session.setdefault(_SESSION_KEY, secrets.token_urlsafe(16))
    own = _field(FIELD, _signer().dumps([actor, key]))
    theirs = current_app.jinja_env.globals.get("csrf_token")
    if "csrf" not in current_app.extensions or not callable(theirs):
        return own
    return own + _field(current_app.config.get("WTF_CSRF_FIELD_NAME", "csrf_token"), theirs())


def is_forged(request: Request, actor: str) -> bool:
    """Return whether a form that was sent is not one of ours, or was shown to somebody else, or long ago."""
    is_ours = is_from_here(
        host=request.host,
        sec_fetch_site=request.headers.get("Sec-Fetch-Site"),
        origin=request.headers.get("Origin"),
    )
    return not is_ours or not _has_token(request, actor)


def _has_token(request: Request, actor: str) -> bool:
    try:
        shown_to = _signer().loads(request.form.get(FIELD, ""), max_age=TOKEN_SECONDS)
    except BadSignature:
        return False
    return bool(shown_to == [actor, session.get(_SESSION_KEY)])


def _signer() -> URLSafeTimedSerializer:
    # The newest key last, as Flask signs its session.
    keys: list[Any] = [*(current_app.config.get("SECRET_KEY_FALLBACKS") or []), current_app.secret_key]
    return URLSafeTimedSerializer(keys, salt=_SALT)


def _field(name: str, value: str) -> Markup:
    return Markup('<input type="hidden" name="{}" value="{}">').format(name, value)

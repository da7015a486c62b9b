"""Who looks: the name that Flower knows, and what they may do."""

from __future__ import annotations

import binascii
from base64 import b64decode
from typing import Any, Final

from tornado.web import HTTPError

from backout.integrations.flower.choices import Choices
from backout.web.host import Permission, Viewer

ANONYMOUS: Final = "anonymous"
LONGEST_NAME: Final = 150


def name_user(handler: Any) -> str:
    """Return the name by which somebody has logged in; Flower itself has checked it.

    Raises:
        HTTPError: 403, a name that no entry can keep.
    """
    options = handler.application.options
    # With OAuth Flower gives the e-mail address. With basic authentication alone it only says that it knows them.
    known = handler.current_user
    name = known if isinstance(known, str) else ""
    if not name and options.basic_auth:
        name = _read_basic_name(handler.request.headers.get("Authorization", ""))
    if len(name) > LONGEST_NAME or not name.isprintable():
        raise HTTPError(403, "This name cannot be recorded")
    return name or ANONYMOUS


def see_viewer(handler: Any) -> Viewer:
    """Return who looks, for the pages; who may act may also undo across a step that cannot be undone."""
    name = name_user(handler)
    may_act = not Choices.of(handler.application.options).say_why_not(name)
    return Viewer(
        name=f"flower:{name}",
        permissions=frozenset(Permission) if may_act else frozenset({Permission.VIEW}),
        hidden_field=handler.xsrf_form_html(),
    )


def _read_basic_name(header: str) -> str:
    scheme, _, credentials = header.partition(" ")
    if scheme.lower() != "basic":
        return ""
    try:
        return b64decode(credentials.encode()).decode().partition(":")[0]
    except (binascii.Error, UnicodeDecodeError):
        return ""

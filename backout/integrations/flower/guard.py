"""Whether a request that changes something was sent from our own pages, whatever this release of Flower checks."""

from __future__ import annotations

from typing import Any, Final

from tornado.web import HTTPError, RequestHandler

from backout.web.origin import is_from_here

FORGED: Final = (
    "This was not sent from a page of this Flower, or the page was opened too long ago. Open it again and send it anew."
)
_BROWSER_HEADERS: Final = ("Origin", "Sec-Fetch-Site", "Cookie")
JSON: Final = "application/json"


def refuse_forged_form(handler: Any) -> None:
    """End a request that another site may have sent.

    Flower 2.2 checks nothing where it asks for no login, no token with basic authentication, and neither before 2.2.

    Raises:
        HTTPError: 403.
    """
    _require_own_origin(handler)
    # Tornado's own check (the token is in the cookie and in the form), not the one by which Flower replaces it.
    _require_token(handler)


def refuse_forged_json(handler: Any) -> None:
    """End a request for the JSON API that another site may have sent.

    A program sends JSON, and no headers of a browser. No page of another site can: its browser would ask first whether
    it may send that type (CORS), and is told no. What comes from a browser needs the token like a form.

    Raises:
        HTTPError: 403; 415 where the body is not said to be JSON.
    """
    _require_own_origin(handler)
    kind = handler.request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind != JSON:
        raise HTTPError(415, f"Send the body as {JSON}")
    if any(name in handler.request.headers for name in _BROWSER_HEADERS):
        _require_token(handler)


def _require_token(handler: Any) -> None:
    try:
        RequestHandler.check_xsrf_cookie(handler)
    except HTTPError as error:
        raise HTTPError(403, FORGED) from error


def _require_own_origin(handler: Any) -> None:
    headers = handler.request.headers
    if not is_from_here(
        host=handler.request.host, sec_fetch_site=headers.get("Sec-Fetch-Site"), origin=headers.get("Origin")
    ):
        raise HTTPError(403, FORGED)

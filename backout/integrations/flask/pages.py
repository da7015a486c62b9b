"""The blueprint: runs and reviews for people in a browser, to those whom the application lets in."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Final, TypeAlias

from flask import (
    Blueprint,
    Flask,
    Response,
    abort,
    current_app,
    flash,
    make_response,
    redirect,
    render_template,
    request,
)
from flask.blueprints import BlueprintSetupState
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response as AnyResponse

from backout.errors import ConfigurationError, SchemaMismatch
from backout.integrations.flask.frame import FRAME_STYLE
from backout.integrations.flask.guard import FIELD, is_forged, make_hidden_field, require_secret_key
from backout.integrations.flask.places import FlaskPlaces
from backout.ledger.session import LEDGER_ERRORS
from backout.pipelines.engine import Engine, current_engine
from backout.web.acting import Acted, act_on_form, draw_preview, say_after_outage, take_review
from backout.web.pages import (
    STYLE,
    Page,
    Permission,
    Viewer,
    draw_pipelines,
    draw_review,
    draw_reviews,
    draw_run,
    draw_runs,
)

Authorize: TypeAlias = Callable[[Permission], str | None]
"""Returns the name of whoever sends the current request, if they have that permission; else `None`, or it aborts."""

POLICY: Final = (
    "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'self'"
)
STYLE_SECONDS: Final = 365 * 24 * 60 * 60
LONGEST_NAME: Final = 150
_STYLE: Final = FRAME_STYLE + STYLE
_VERSION: Final = hashlib.sha256(_STYLE.encode()).hexdigest()[:12]
_PLACES: Final = FlaskPlaces()


def backout_pages(
    authorize: Authorize, *, name: str = "backout", content_security_policy: str | None = POLICY
) -> Blueprint:
    """Return a blueprint with the pages of runs and reviews: `app.register_blueprint(pages, url_prefix="/runs")`.

    The frame around them is the template `backout/layout.html`; one of that name in the application's own templates
    takes its place.

    Args:
        authorize: called in each request, for each `Permission` that matters there. Returns the name of whoever has
            sent it, which entries keep as `flask:<name>`, or `None` when they may not; then the answer is 403. It may
            also `abort(…)`, with a redirect to a login for example.
        name: of the blueprint, for `url_for("backout.runs")`.
        content_security_policy: of the pages; for a layout of your own that loads more than ours. `None`: none is set.

    Raises:
        ConfigurationError: `authorize` cannot be called; when it is registered: the app has no secret key.
    """
    if not callable(authorize):
        raise ConfigurationError(
            problem=f"the pages were given no function that says who may see them, but {authorize!r}",
            remedy="Give `authorize`, which takes a Permission and returns a name, or None for nobody.",
        )
    pages = Blueprint(name, __name__, template_folder="templates")
    pages.record_once(_require_app)
    door = _Door(authorize)
    pages.add_url_rule("/", "runs", door.runs)
    pages.add_url_rule("/runs/<run_id>", "run", door.run)
    pages.add_url_rule("/runs/<run_id>/act", "preview", door.preview)
    pages.add_url_rule("/runs/<run_id>/act", "act", door.act, methods=["POST"])
    pages.add_url_rule("/reviews", "reviews", door.reviews)
    pages.add_url_rule("/reviews/<int:review_id>", "review", door.review)
    pages.add_url_rule("/reviews/<int:review_id>/take", "take", door.take, methods=["POST"])
    pages.add_url_rule("/pipelines", "pipelines", door.pipelines)
    pages.add_url_rule("/style.css", "style", _serve_style)
    for away in (*LEDGER_ERRORS, SchemaMismatch):
        pages.register_error_handler(away, _say_away)

    @pages.after_request
    def add_headers(response: Response) -> Response:
        if content_security_policy is not None:
            response.headers.setdefault("Content-Security-Policy", content_security_policy)
        response.headers.setdefault("X-Content-Type-Options", "nosniff")
        response.headers.setdefault("Referrer-Policy", "same-origin")
        response.headers.setdefault("Cache-Control", "no-store")
        return response

    return pages


class _Door:
    """The views: each asks who is there, and hands over to the pages."""

    def __init__(self, authorize: Authorize) -> None:
        self._authorize: Final = authorize

    def runs(self) -> Response:
        viewer = self._let_in(Permission.VIEW)
        return _frame(draw_runs(_engine(), request.args.to_dict(), places=_PLACES, viewer=viewer))

    def run(self, run_id: str) -> Response:
        viewer = self._let_in(Permission.VIEW)
        return _frame(draw_run(_engine(), run_id, places=_PLACES, viewer=viewer))

    def preview(self, run_id: str) -> Response:
        viewer = self._let_in(Permission.VIEW)
        return _frame(draw_preview(_engine(), run_id, request.args.to_dict(), places=_PLACES, viewer=viewer))

    def act(self, run_id: str) -> AnyResponse:
        viewer = self._let_in(Permission.ACT)
        return _answer(act_on_form(_engine(), run_id, _read_form(viewer), places=_PLACES, viewer=viewer))

    def reviews(self) -> Response:
        viewer = self._let_in(Permission.VIEW)
        return _frame(draw_reviews(_engine(), request.args.to_dict(), places=_PLACES, viewer=viewer))

    def review(self, review_id: int) -> Response:
        viewer = self._let_in(Permission.VIEW)
        return _frame(draw_review(_engine(), review_id, places=_PLACES, viewer=viewer))

    def take(self, review_id: int) -> AnyResponse:
        viewer = self._let_in(Permission.ACT)
        return _answer(take_review(_engine(), review_id, _read_form(viewer), places=_PLACES, viewer=viewer))

    def pipelines(self) -> Response:
        viewer = self._let_in(Permission.VIEW)
        return _frame(draw_pipelines(_engine(), request.args.to_dict(), places=_PLACES, viewer=viewer))

    def _let_in(self, needed: Permission) -> Viewer:
        """Return who is there; end the request where they may not do what it needs."""
        names = {permission: self._ask(permission, is_needed=permission is needed) for permission in Permission}
        name = names[needed]
        if not name:
            abort(403)
        permissions = frozenset(permission for permission, allowed in names.items() if allowed == name)
        actor = f"flask:{name}"
        return Viewer(name=actor, permissions=permissions, hidden_field=make_hidden_field(actor))

    def _ask(self, permission: Permission, *, is_needed: bool) -> str | None:
        try:
            name = self._authorize(permission)
        except HTTPException:
            # A redirect to the login, say. What a request does not need, it only leaves out.
            if is_needed:
                raise
            return None
        if name is not None and (not isinstance(name, str) or len(name) > LONGEST_NAME):
            raise ConfigurationError(
                problem=f"the function that says who may see the pages has returned a {type(name).__name__}, or a "
                f"name of more than {LONGEST_NAME} characters",
                remedy="Return the name of whoever is logged in, as entries are to keep it, or None.",
            )
        return name


def _require_app(state: BlueprintSetupState) -> None:
    assert isinstance(state.app, Flask)
    require_secret_key(state.app)


def _engine() -> Engine:
    return current_engine()


def _read_form(viewer: Viewer) -> dict[str, str]:
    """Return the fields of the form that was sent; end the request where it is not one of ours."""
    if is_forged(request, viewer.name):
        abort(403, "This form was not sent from its page, or too long after it was opened. Open the page again.")
    return {name: value for name, value in request.form.to_dict().items() if name != FIELD}


def _answer(done: Acted | Page) -> AnyResponse:
    if isinstance(done, Page):
        return _frame(done)
    flash(done.message, "backout")
    # See Other: the answer to a form that was sent is another page.
    return redirect(_PLACES.run(done.run_id), 303)


def _frame(page: Page) -> Response:
    return make_response(render_template("backout/layout.html", page=page, style_version=_VERSION), page.status)


def _say_away(error: Exception) -> Response:
    current_app.logger.error("backout: %s", error)
    again = say_after_outage(request.method)
    body = f'<div class="backout"><p>The database of the runs cannot be used just now. {again}</p></div>'
    return _frame(Page(title="Not now", body=body, status=503))


def _serve_style() -> Response:
    response = Response(_STYLE, mimetype="text/css")
    response.cache_control.public = True
    response.cache_control.max_age = STYLE_SECONDS
    response.cache_control.immutable = True
    response.set_etag(_VERSION)
    response.make_conditional(request)
    return response

"""The JSON API of runs and reviews beside Flower's own: who is let in is decided as for the tab's pages."""

from __future__ import annotations

import json
import os
import re
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import parse_qsl

from tornado.web import HTTPError, url

from backout.integrations.flower.door import Door
from backout.integrations.flower.guard import refuse_forged_json
from backout.integrations.flower.places import name_route
from backout.integrations.flower.work import ACT_SECONDS, READ_SECONDS, LedgerAway, do
from backout.web.acting import say_after_outage
from backout.web.rest import PATHS, Answer, Call, Code, Problem, answer, find_methods, refuse_method

ROOT: Final = "/api"
OPEN: Final = "FLOWER_UNAUTHENTICATED_API"
"""Flower's own variable."""
_TRUE: Final = frozenset(("1", "t", "true", "y", "yes", "on"))
_CODES: Final = {
    400: Code.UNREADABLE_REQUEST,
    401: Code.NOT_LOGGED_IN,
    403: Code.FORGED_REQUEST,
    413: Code.PAYLOAD_TOO_LARGE,
    415: Code.WRONG_CONTENT_TYPE,
}
_REMEDIES: Final = {
    400: "Send what HTTP and UTF-8 allow.",
    401: f"Log in as you do in Flower; one without a login answers programs where {OPEN} is set.",
    403: "Send it from a page of this Flower with its token, or from a program.",
    413: "Store what is large elsewhere, and give its id.",
    415: "Set the header Content-Type.",
}


class ApiHandler(Door):
    """Answers with JSON, whatever happens."""

    def check_xsrf_cookie(self) -> None:
        """Refuse what another site may have sent; what the path does not take at all is told so."""
        if "POST" in find_methods(self.path_args[0]):
            refuse_forged_json(self)

    def xsrf_form_html(self) -> str:
        """Return nothing: a token comes with a cookie, and a program that keeps cookies would look like a browser."""
        return ""

    async def get(self, path: str) -> None:
        """Answer it."""
        await self._answer(path)

    async def post(self, path: str) -> None:
        """Answer it."""
        await self._answer(path)

    def write_error(self, status_code: int, **about: Any) -> None:
        """Answer with what went wrong before it was asked of us, or in the host."""
        error = (about.get("exc_info") or (None, None))[1]
        said = (error.log_message or "") % error.args if isinstance(error, HTTPError) else ""
        if status_code == HTTPStatus.UNAUTHORIZED and self.application.options.basic_auth:
            self.set_header("WWW-Authenticate", 'Basic realm="flower"')
        if status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            # Tornado says so before it takes the path apart.
            path = self.request.path.rpartition(f"{ROOT}/")[2]
            self._send(refuse_method(find_methods(f"/{path}")).as_answer())
            return
        self._send(
            Problem(
                code=_CODES.get(status_code, Code.INTERNAL_ERROR),
                problem=said or HTTPStatus(status_code).phrase,
                remedy=_REMEDIES.get(status_code, "What went wrong is in Flower's log."),
            ).as_answer()
        )

    async def _answer(self, path: str) -> None:
        if not self.current_user or not self._is_open():
            raise HTTPError(401, "It is not known who asks")
        viewer = self.viewer()
        call = Call(method=self.request.method or "", path=path, query=self._read_query(), body=self.request.body)
        try:
            found = await do(
                lambda: _write(answer(self.engine(), call, viewer=viewer)),
                within_seconds=READ_SECONDS if call.method == "GET" else ACT_SECONDS,
            )
        except LedgerAway as away:
            remedy = say_after_outage(call.method)
            found = _write(Problem(code=Code.LEDGER_UNAVAILABLE, problem=str(away), remedy=remedy).as_answer())
        self._send_written(*found)

    def _is_open(self) -> bool:
        """Return whether Flower's API is: without a login only if its operator says so, as for Flower's own."""
        options = self.application.options
        return bool(options.basic_auth or options.auth) or os.environ.get(OPEN, "").lower() in _TRUE

    def _read_query(self) -> list[tuple[str, str]]:
        # Tornado turns control characters into blanks.
        try:
            return parse_qsl(self.request.query, keep_blank_values=True, errors="strict", max_num_fields=100)
        except ValueError as error:
            raise HTTPError(400, "The query cannot be read") from error

    def _send(self, found: Answer) -> None:
        self._send_written(*_write(found))

    def _send_written(self, found: Answer, body: str) -> None:
        self.set_status(found.status)
        for name, value in found.headers.items():
            self.set_header(name, value)
        self.set_header("Content-Type", "application/json")
        self.finish(body)


def _write(found: Answer) -> tuple[Answer, str]:
    # In the thread that has read it: a run may have very many entries.
    return found, json.dumps(found.document)


def _make_pattern(path: str) -> str:
    return ROOT + "(" + re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(path)) + ")"


API: Final = [
    url(_make_pattern(path), ApiHandler, name=name_route(f"api_{number}")) for number, path in enumerate(PATHS)
]

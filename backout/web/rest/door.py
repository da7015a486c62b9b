"""Answer one request of the JSON API: find its route, and make an answer of whatever comes of it."""

from __future__ import annotations

import logging
from typing import Final

from backout.errors import ActionRefused, SchemaMismatch, UnknownRun
from backout.jsontext import JsonValue
from backout.ledger.session import LEDGER_ERRORS
from backout.pipelines.engine import Engine
from backout.web.acting import LOST_ANSWER, say_after_outage
from backout.web.host import Permission, Viewer
from backout.web.rest.asking import Asked
from backout.web.rest.calls import Answer, Call
from backout.web.rest.fields import Query
from backout.web.rest.openapi import describe
from backout.web.rest.problems import SEE_DOCUMENT, Code, Problem, refuse_method
from backout.web.rest.routes import ROUTES, find_methods, match
from backout.web.wording import as_sentence

SERVER_URL: Final = ".."
"""Where the API is, seen from where it serves its document."""
logger = logging.getLogger(__name__)


def answer(engine: Engine, call: Call, *, viewer: Viewer) -> Answer:
    """Answer a request. Never raises; whatever is not 200 has changed nothing, unless it says otherwise.

    Args:
        engine: whose ledger it is.
        call: what was asked.
        viewer: who asks; entries keep their name.
    """
    try:
        return Answer(status=200, document=_answer(engine, call, viewer))
    except Problem as problem:
        return problem.as_answer()
    except UnknownRun as error:
        told = f"There is no run {error.run_id[:40]}."
        return Problem(code=Code.UNKNOWN_RUN, problem=told, remedy="GET /runs lists the runs.").as_answer()
    except ActionRefused as error:
        return _refuse(error).as_answer()
    except (*LEDGER_ERRORS, SchemaMismatch) as error:
        # Its words may hold what is nobody's business here: where the database is, or a statement.
        logger.error("backout: %s", error)
        return _say_away(call).as_answer()
    except Exception:
        logger.exception("backout: %s %s was not answered", call.method, call.path)
        return _say_mistake(call).as_answer()


def _answer(engine: Engine, call: Call, viewer: Viewer) -> JsonValue:
    if not viewer.may(Permission.VIEW):
        raise Problem(
            code=Code.NOT_PERMITTED,
            problem="You are not permitted to see the runs of this application.",
            remedy="Ask whoever gives permissions here.",
        )
    _require_method(call)
    route = next((one for one in ROUTES if one.method == call.method and match(one.path, call.path) is not None), None)
    places = match(route.path, call.path) if route is not None else None
    asked = Asked(engine=engine, call=call, viewer=viewer, places=places or {})
    if route is None or route.query is Query:
        asked.read_query(Query)
    return route.answerer(asked) if route is not None else describe(server_url=SERVER_URL)


def _require_method(call: Call) -> None:
    methods = find_methods(call.path)
    if not methods:
        raise Problem(code=Code.UNKNOWN_PATH, problem="There is nothing at this path.", remedy=SEE_DOCUMENT)
    if call.method not in methods:
        raise refuse_method(methods)


def _refuse(error: ActionRefused) -> Problem:
    return Problem(
        code=Code.ACTION_REFUSED,
        problem=as_sentence(f"{error.verb} is refused: {error.why}"),
        remedy=f"{as_sentence(error.remedy)} Nothing was changed.",
        more={"run_id": error.run_id},
    )


def _say_away(call: Call) -> Problem:
    problem = "The database of the runs cannot be used just now."
    return Problem(code=Code.LEDGER_UNAVAILABLE, problem=problem, remedy=say_after_outage(call.method))


def _say_mistake(call: Call) -> Problem:
    told = "Nothing was changed." if call.method == "GET" else LOST_ANSWER
    problem = "This could not be answered; the log of the server says why."
    return Problem(code=Code.INTERNAL_ERROR, problem=problem, remedy=told)

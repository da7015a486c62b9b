"""Who asks for what, and the records that most requests begin with; or why there is no answer."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from backout.compensations.requests import RunView
from backout.errors import UnknownRun
from backout.identifiers import RunId
from backout.ledger import queries
from backout.ledger.records import ReviewRecord
from backout.pipelines.engine import Engine
from backout.views.look import read_view
from backout.views.picture import RunPicture, read_picture
from backout.web.host import Permission, Viewer
from backout.web.rest.calls import Call
from backout.web.rest.fields import BIGGEST_ID, RUN_ID, Body, Query
from backout.web.rest.problems import Code, Problem
from backout.web.rest.reading import read_body, read_query

Q = TypeVar("Q", bound=Query)
B = TypeVar("B", bound=Body)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request that is answered by one of the routes.

    Attributes:
        places: what stands in the path for the names of its pattern.
    """

    engine: Engine
    call: Call
    viewer: Viewer
    places: Mapping[str, str]

    def read_query(self, model: type[Q]) -> Q:
        """Return the query. Raises as `reading.read_query`."""
        return read_query(model, self.call.query)

    def read_body(self, model: type[B]) -> B:
        """Return the body. Raises as `reading.read_body`."""
        return read_body(model, self.call.body, longest_output_bytes=self.engine.settings.max_payload_bytes)

    def require(self, permission: Permission, problem: str) -> None:
        """End the request where the viewer may not do what it needs.

        Raises:
            Problem: 403.
        """
        if not self.viewer.may(permission):
            remedy = "Nothing was changed. Ask whoever gives permissions here."
            raise Problem(code=Code.NOT_PERMITTED, problem=problem, remedy=remedy)

    @property
    def run_id(self) -> RunId:
        """The run that the path names.

        Raises:
            UnknownRun: it is no id of a run.
        """
        given = self.places["run_id"]
        if not re.fullmatch(RUN_ID, given):
            raise UnknownRun(run_id=given)
        return RunId(given.lower())

    def read_picture(self, run_id: RunId, *, last_entries: int) -> RunPicture:
        """Return a run.

        Raises:
            UnknownRun: there is none.
            Problem: 422: a newer release has recorded what this one cannot read.
        """
        try:
            return read_picture(self.engine.ledger, run_id, last_entries=last_entries)
        except ValueError:
            raise Problem(
                code=Code.PLAN_UNREADABLE,
                problem="This release cannot read what a newer one has recorded of this run.",
                remedy="A newer release can.",
            ) from None

    def read_view(self) -> RunView:
        """Return the run that the path names as one decides about it.

        Raises:
            UnknownRun: there is none.
            Problem: 422: this release cannot read its plan.
        """
        run_id = self.run_id
        try:
            return read_view(self.engine.ledger, run_id)
        except ValueError:
            raise Problem(
                code=Code.PLAN_UNREADABLE,
                problem="This release cannot read the plan of this run, so it cannot say what would happen.",
                remedy="A newer release can.",
            ) from None

    def read_review(self) -> ReviewRecord:
        """Return the review that the path names.

        Raises:
            Problem: 404: there is none.
        """
        given = self.places["review_id"]
        review_id = int(given) if re.fullmatch("[0-9]{1,19}", given) else 0
        review = None
        if 0 < review_id <= BIGGEST_ID:
            review = self.engine.ledger.read(lambda connection: queries.find_review(connection, review_id))
        if review is None:
            raise Problem(
                code=Code.UNKNOWN_REVIEW,
                problem=f"There is no review {given[:40]}.",
                remedy="GET /reviews lists those that are open.",
            )
        return review

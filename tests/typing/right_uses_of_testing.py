"""The public names of `backout.testing` used as they are meant to be: mypy must accept every line. Never run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, assert_type

from backout import Pipeline, ReviewRecord, RunHandle, RunState, step
from backout.testing import (
    Asked,
    LeftBehind,
    Place,
    PlaceKind,
    Rehearsal,
    RehearsedCall,
    RehearsedCase,
    Scratch,
    Why,
    find_places,
    make_stand_ins,
    rehearse,
    select_places,
)


@step
def charge(cents: int) -> str:
    return "paid"


@charge.compensation(action="refund")
def refund(cents: int, output: str | None) -> None: ...


order = Pipeline("typed_rehearsal", [charge])


def rehearse_with(stand_in: Callable[..., Any]) -> None:
    found = rehearse(order, 500)
    assert_type(found, Rehearsal)
    made_up = make_stand_ins(order)
    rehearse(order, 500, stand_ins=made_up)
    rehearse(order, 500, stand_ins={**made_up, "refund": stand_in})
    rehearse(order, 500, stand_ins={charge: stand_in, refund: stand_in, "charge": stand_in})
    rehearse(order, 500, places=["charge:*", Place(kind=PlaceKind.SMOOTH)], on_case=look)
    found.assert_nothing_left_behind(except_for=[charge, "charge"])
    found.assert_nobody_is_asked(except_for=["compensation_failed"])
    found.assert_nothing_done_twice()
    assert_type(found.problems, tuple[RehearsedCase, ...])


def look(case: RehearsedCase) -> None:
    assert_type(case.place, Place)
    assert_type(case.state, RunState)
    assert_type(case.undone, tuple[str, ...])
    assert_type(case.left_behind, tuple[LeftBehind, ...])
    assert_type(case.asked, tuple[Asked, ...])
    assert_type(case.calls, tuple[RehearsedCall, ...])
    assert_type(case.left_behind[0].why, Why)


def choose() -> None:
    assert_type(find_places(order.plan), tuple[Place, ...])
    assert_type(select_places(order.plan, ["smooth"]), tuple[Place, ...])


def run(folder: Path) -> None:
    with Scratch(folder) as scratch:
        assert_type(scratch.run(order, 500, source_event_id="form-1"), RunHandle)
        scratch.settle()
        assert_type(scratch.reviews(scratch.run(order, 500)), list[ReviewRecord])

"""A rehearsal as a table: places that lead to the same end share a line."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from backout.cli.render.tones import draw_mark
from backout.faultpoints import FaultPoint
from backout.jsontext import JsonValue
from backout.pipelines.contract import Plan
from backout.testing.rehearsal.cases import LeftBehind, Rehearsal, RehearsedCase, Why
from backout.testing.rehearsal.places import Place, PlaceKind
from backout.views.marks import RUN_MARKS
from backout.views.words import clean, clip, join_words, say_count

INPUT_CHARACTERS: Final = 300
SHOWN_PROBLEMS: Final = 3

_COLUMNS: Final = {"  place": 28, "undone, in order": 18, "left behind": 20, "a person is asked": 20, "ends as": 14}
"""Each heading with the part of the width that its column gets."""

_MOMENTS: Final[Mapping[FaultPoint | None, str]] = {
    FaultPoint.BEFORE_CLAIM: "before the claim",
    FaultPoint.AFTER_CLAIM: "after the claim",
    None: "inside",
    FaultPoint.AFTER_CALL: "after the call",
    FaultPoint.BEFORE_COMMIT: "before the commit",
    FaultPoint.AFTER_COMMIT: "after the commit",
    FaultPoint.AFTER_SEND: "after the send",
}
"""When the process of a step may die, in order; `None`: in its function, after the effect."""

_DEATHS: Final = (PlaceKind.DIES_AFTER_EFFECT, PlaceKind.DIES_AT)

_WHY_WORDS: Final = {
    Why.KEPT: ("=", "kept", "blue"),
    Why.IRREVERSIBLE: ("=", "cannot be undone", "yellow"),
    Why.PASSED_OVER: ("=", "passed over", "yellow"),
    Why.HELD: ("·", "held", "dim"),
    Why.UNEXPLAINED: ("✗", "nobody knows of it", "bold red"),
}


def draw_head(plan: Plan, stored: JsonValue, *, is_made_up: bool, is_real: bool) -> RenderableType:
    """Return what was rehearsed: pipeline, input, and whose functions were called."""
    text = clip(json.dumps(stored, ensure_ascii=False), INPUT_CHARACTERS)
    source = " (made up from its type; give your own with --input)" if is_made_up else ""
    functions = "your own" if is_real else "stand-ins for all of them; none of yours was called"
    return Group(
        Text(clean(plan.pipeline), style="bold"),
        Text.assemble("  input      ", text, (source, "dim")),
        Text.assemble("  functions  ", (functions, "bold yellow" if is_real else "")),
        Text(),
    )


def draw_rehearsal(rehearsal: Rehearsal) -> RenderableType:
    """Return one table for each step forward and for each back, in the order of the rehearsal, with columns aligned."""
    parts: list[RenderableType] = [_make_table(with_headings=True)]
    for title, cases in _by_title(rehearsal.cases):
        table = _make_table()
        for alike in _group_alike(cases):
            case = alike[0]
            places = Padding(_say_places([one.place for one in alike]), (0, 0, 0, 2))
            table.add_row(
                places, _say_undone(case), _say_left_behind(case.left_behind), _say_asked(case), _say_end(case)
            )
        parts += [Text(clean(title), style="bold"), table]
    return Group(*parts, Text())


def _make_table(*, with_headings: bool = False) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, expand=True, show_header=with_headings)
    for heading, ratio in _COLUMNS.items():
        table.add_column(heading, ratio=ratio, overflow="fold", header_style="dim")
    return table


def draw_problems(rehearsal: Rehearsal) -> RenderableType:
    """Return what the ledger says happened in the first case of each kind of problem."""
    kinds = {(case.state, case.done_twice, case.unexplained): case for case in reversed(rehearsal.problems)}
    parts: list[RenderableType] = []
    for case in list(kinds.values())[::-1][:SHOWN_PROBLEMS]:
        parts.append(Text.assemble(("✗ ", "bold red"), (clean(case.place), "bold"), (f"  {case.place.id}", "dim")))
        parts += [Padding(Text(f"· {clean(line)}", style="dim"), (0, 0, 0, 4)) for line in case.story]
        parts.append(Text())
    return Group(*parts)


def draw_verdict(rehearsal: Rehearsal) -> Text:
    """Return one line: the problems, or that there are none, and in how many a person is asked."""
    cases = rehearsal.cases
    asked = sum(bool(case.asked) for case in cases)
    parts = [say_count(len(cases), "rehearsal")]
    parts += [f"in {asked} a person is asked"] if asked else []
    if not rehearsal.problems:
        parts.append("nothing was done twice, or left behind without contract")
        return Text(f"✓ {'; '.join(parts)}", style="green")
    ids = join_words([case.place.id for case in rehearsal.problems])
    parts.append(f"{say_count(len(rehearsal.problems), 'problem')}: {clean(ids)}")
    return Text(f"✗ {'; '.join(parts)}", style="bold red")


def _by_title(cases: Iterable[RehearsedCase]) -> Iterable[tuple[str, list[RehearsedCase]]]:
    groups: dict[str, list[RehearsedCase]] = {}
    for case in cases:
        groups.setdefault(_title_of(case.place), []).append(case)
    return groups.items()


def _title_of(place: Place) -> str:
    if not place.is_undo:
        return place.step or "the run"
    cause = "it has failed" if place.because_of == place.step else f"{place.because_of} has failed"
    return f"undoing {place.step}, after {cause}"


def _group_alike(cases: Sequence[RehearsedCase]) -> Iterable[list[RehearsedCase]]:
    groups: dict[object, list[RehearsedCase]] = {}
    for case in cases:
        asked = tuple((one.reason, one.step) for one in case.asked)
        left = tuple((one.step, one.why) for one in case.left_behind)
        ways = (case.place.step, case.state, case.operator_state, case.undone, left, asked, case.done_twice)
        groups.setdefault((*ways, case.was_reached), []).append(case)
    return groups.values()


def _say_places(places: Sequence[Place]) -> Text:
    deaths = {place.point for place in places if place.step and place.kind in _DEATHS}
    lines = [_say_short(place) for place in places if not (place.step and place.kind in _DEATHS)]
    if deaths == set(_MOMENTS):
        lines.append("dies at any moment")
    elif deaths:
        lines.append(f"dies {', '.join(words for point, words in _MOMENTS.items() if point in deaths)}")
    return Text("\n".join(lines))


def _say_short(place: Place) -> str:
    match place.kind:
        case PlaceKind.FAILS_BEFORE_EFFECT:
            return "fails before its effect"
        case PlaceKind.FAILS_AFTER_EFFECT:
            return "fails after its effect"
        case _:
            return str(place)


def _say_undone(case: RehearsedCase) -> Text:
    return Text("\n".join(f"↩ {clean(step)}" for step in case.undone), style="yellow")


def _say_left_behind(left: Sequence[LeftBehind]) -> Text:
    lines: list[Text] = []
    for why, (sign, words, style) in _WHY_WORDS.items():
        steps = [clean(one.step) for one in left if one.why is why]
        if steps:
            lines.append(Text.assemble((f"{sign} {', '.join(steps)}", style), (f" {words}", "dim")))
    return Text("\n").join(lines)


def _say_asked(case: RehearsedCase) -> Text:
    lines = [
        Text.assemble((f"! {one.reason.replace('_', ' ')}", "bold magenta"), (f" ({clean(one.step)})", "dim"))
        for one in case.asked
    ]
    return Text("\n").join(lines)


def _say_end(case: RehearsedCase) -> Text:
    end = draw_mark(RUN_MARKS[case.state])
    if case.done_twice:
        end.append(f"\n✗ twice: {clean(', '.join(case.done_twice))}", "bold red")
    if not case.was_reached:
        end.append("\n(the place was not reached)", "dim")
    return end

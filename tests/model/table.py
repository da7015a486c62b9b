"""The table of what was explored."""

from __future__ import annotations

from collections.abc import Iterable

from tests.model.explorer import Exploration

HEAD = ("pipeline", "what may go wrong", "states", "transitions", "at rest, by the state of the run")


def table_of(explorations: Iterable[Exploration]) -> str:
    """Return a line for each exploration, and the sums."""
    found = list(explorations)
    lines = [HEAD, *(_line_of(one) for one in found)]
    states, transitions = sum(one.states for one in found), sum(one.transitions for one in found)
    lines.append(("all", "", f"{states:,}", f"{transitions:,}", ""))
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEAD))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if column in (2, 3) else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def _line_of(one: Exploration) -> tuple[str, ...]:
    model = one.model
    more = (", a deadline" if model.has_deadline else "") + (", short chains" if model.chain_links == 1 else "")
    settled = ", ".join(f"{count} {state}" for state, count in sorted(one.settled.items()))
    return model.name, f"{model.budget}{more}", f"{one.states:,}", f"{one.transitions:,}", settled

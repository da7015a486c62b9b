"""Many runs at once: how many, what would become of them, and what became of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from backout.cli.wording import in_commands
from backout.identifiers import RunId
from backout.states import RunState
from backout.views.look import Look
from backout.views.marks import RUN_MARKS
from backout.views.words import clean, join_words, say_count

MOST_REASONS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one run, or would.

    Attributes:
        state: of the run after it; when refused, as it was seen.
        code: of the error that kept it from being done.
        is_sent: the broker took the message, or there was none.
    """

    run_id: RunId
    is_done: bool
    state: RunState
    code: str | None = None
    why: str | None = None
    remedy: str | None = None
    is_sent: bool = True


def draw_counts(looks: Sequence[Look], *, has_more: bool) -> RenderableType:
    """Return how many runs were found, by state, and how many of them would be done or refused, and why."""
    if not looks:
        return Text("No run fits.")
    states = Counter(look.view.run.state for look in looks)
    listed = join_words(
        [f"{mark.sign} {states[state]:,} {mark.word}" for state, mark in RUN_MARKS.items() if states[state]]
    )
    more = " There are more than --limit: these are the newest." if has_more else ""
    parts: list[RenderableType] = [Text(f"{say_count(len(looks), 'run')}: {listed}.{more}")]
    possible = [look for look in looks if look.is_possible]
    if possible:
        leads = Counter(look.preview.leads_to for look in possible)
        to = join_words(
            [f"{RUN_MARKS[state].sign} {count:,} {RUN_MARKS[state].word}" for state, count in leads.items() if state]
        )
        parts.append(Text(f"  ✓ {len(possible):,} can be done; right after it: {to}", style="green"))
    unsure = Counter(look.warning for look in possible if look.warning)
    if unsure:
        parts.append(Text(f"  ! {unsure.total():,} of them not certain to be safe:", style="bold red"))
        parts += _draw_reasons(unsure)
    refused = Counter(look.preview.refusal.why for look in looks if look.preview.refusal is not None)
    if refused:
        parts.append(Text(f"  ✗ {refused.total():,} would be refused:", style="bold"))
        parts += _draw_reasons(refused)
    return Group(*parts)


def draw_outcomes(outcomes: Sequence[Outcome], *, sending: str, start: str) -> RenderableType:
    """Return how many were done, and each one that was not, with the reason."""
    done = sum(outcome.is_done for outcome in outcomes)
    parts: list[RenderableType] = [
        Text(
            f"{'✓' if done == len(outcomes) else '!'} {done:,} of {say_count(len(outcomes), 'run')} done.", style="bold"
        )
    ]
    if sending:
        parts.append(Text(f"  {sending}"))
    left = [outcome for outcome in outcomes if not outcome.is_done]
    if left:
        parts.append(Text(f"Not done ({start} runs next RUN shows what can be done):"))
    for outcome in left:
        parts.append(Text(f"  {outcome.run_id}", style="cyan"))
        told = f"{in_commands(clean(outcome.why))}. {in_commands(clean(outcome.remedy))}"
        parts.append(Padding(Text(told), (0, 0, 0, 4)))
    return Group(*parts)


def _draw_reasons(reasons: Counter[str]) -> list[RenderableType]:
    shown = [
        Padding(Text(f"{count:,} × {in_commands(clean(why))}"), (0, 0, 0, 6))
        for why, count in reasons.most_common(MOST_REASONS)
    ]
    left = len(reasons) - len(shown)
    return [*shown, *([Text(f"      … and {say_count(left, 'other reason')}")] if left else [])]

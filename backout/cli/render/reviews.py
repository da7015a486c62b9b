"""Reviews as people read them: a list by age, and one with its evidence, its dangers and its possible decisions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from backout.cli.render.commands import say_command
from backout.cli.render.snake import Snake
from backout.cli.render.tones import draw_mark
from backout.cli.wording import in_commands
from backout.compensations.requests import Request, ReviewDecision
from backout.identifiers import RunId
from backout.ledger.records import ReviewRecord, RunRecord
from backout.views.clock import Clock
from backout.views.deeds import say_tasks
from backout.views.look import Look, needs_output
from backout.views.marks import RUN_MARKS
from backout.views.picture import RunPicture
from backout.views.reviews import MEANINGS, find_dangers, find_ids, say_asked, tell_evidence
from backout.views.words import clean, shorten_ids


def draw_reviews(reviews: Sequence[ReviewRecord], runs: Mapping[RunId, RunRecord], clock: Clock) -> Table:
    """Return a table of reviews in the order given."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("id", no_wrap=True, justify="right")
    table.add_column("asked", no_wrap=True, justify="right")
    table.add_column("what", overflow="fold", ratio=1)
    table.add_column("pipeline", overflow="fold")
    table.add_column("run", no_wrap=True)
    table.add_column("who", overflow="fold")
    ids = shorten_ids([review.run_id for review in reviews])
    for run_id, review in zip(ids, reviews, strict=True):
        run = runs.get(review.run_id)
        table.add_row(
            str(review.id),
            clock.say_rough_age(review.opened_at),
            _say_what(review, clock),
            Snake(clean(run.pipeline)) if run is not None else "",
            run_id,
            Text(clean(review.assignee or "nobody"), style="default" if review.assignee else "dim"),
        )
    return table


def _say_what(review: ReviewRecord, clock: Clock) -> Text:
    what = Text(say_asked(review))
    if review.decision is not None:
        what.append(f"\ndecided: {clean(review.decision).replace('_', '-')} by {clean(review.decided_by)}", "green")
    elif review.deadline_at is not None:
        is_late = clock.seconds_since(review.deadline_at) > 0
        due = clock.say_due(review.deadline_at)
        what.append(f"\n{'! overdue, ' if is_late else ''}{due}", "bold red" if is_late else "yellow")
    return what


def print_review(
    console: Console,
    picture: RunPicture,
    review: ReviewRecord,
    looks: Sequence[tuple[Request, Look]],
    *,
    clock: Clock,
    start: str,
) -> None:
    """Print all about one review; commands are never broken, so that they can be copied."""
    console.print(Text(f"Review {review.id}: {say_asked(review)}", style="bold"))
    _print_facts(console, picture, review, clock)
    console.print(Text("\nWhat happened", style="bold"))
    for told in tell_evidence(picture, review):
        console.print(Padding(Text(told), (0, 0, 0, 2)))
    ids = list(find_ids(picture, review))
    if ids:
        console.print(Text("\nWhere to look: ask the other system for", style="bold"))
    for name, value in ids:
        console.print(Text.assemble(f"  {clean(name)}  ", (clean(value), "cyan")), soft_wrap=True)
    _print_dangers(console, picture)
    if review.decision is not None:
        _print_decided(console, review, clock)
    else:
        _print_decisions(console, looks, start=start, run_id=picture.run.id)
    console.print(Text(f"\nThe whole story: {start} runs show {picture.run.id}", style="dim"), soft_wrap=True)


def _print_facts(console: Console, picture: RunPicture, review: ReviewRecord, clock: Clock) -> None:
    run = picture.run
    facts = [
        ("pipeline", clean(run.pipeline)),
        ("run", run.id),
        ("subject", clean(run.subject_id or "")),
        ("reason", review.reason.value),
        ("asked", f"{clock.say_instant(review.opened_at)}, {clock.say_age(review.opened_at)}"),
        ("looked after by", clean(review.assignee or "nobody")),
    ]
    if review.deadline_at is not None:
        facts.append(("deadline", f"{clock.say_instant(review.deadline_at)}, {clock.say_due(review.deadline_at)}"))
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True, style="dim")
    grid.add_column(overflow="fold")
    for name, value in facts:
        if value:
            grid.add_row(f"  {name}", value)
    mark = RUN_MARKS[run.state]
    grid.add_row("  state", Text.assemble(draw_mark(mark), f" ({clean(run.operator_state)})"))
    console.print(grid)


def _print_dangers(console: Console, picture: RunPicture) -> None:
    """Print what may be done again without harm, and what must not, by contract."""
    dangers = find_dangers(picture)
    if dangers.never:
        console.print(Text("\nDo not do by hand again without looking first", style="bold"))
        console.print(Padding(Text("\n".join(dangers.never)), (0, 0, 0, 2)))
    if dangers.freely:
        console.print(Text("\nMay be done again under the same idempotency key", style="bold"))
        console.print(Padding(Text("\n".join(dangers.freely)), (0, 0, 0, 2)))


def _print_decisions(console: Console, looks: Sequence[tuple[Request, Look]], *, start: str, run_id: str) -> None:
    console.print(Text("\nWhat you can decide", style="bold"))
    for request, look in looks:
        if request.decision is None:
            continue
        takes_output = needs_output(look.view, request)
        command = say_command(request, run_id, start=start, takes_output=takes_output)
        console.print(Text(f"  {command}", style="cyan"), soft_wrap=True)
        for told in _say_consequence(request.decision, look, takes_output=takes_output):
            console.print(Padding(told, (0, 0, 0, 6)))
    console.print(Text(f"  or something else: {start} runs next {run_id}", style="dim"), soft_wrap=True)


def _say_consequence(decision: ReviewDecision, look: Look, *, takes_output: bool) -> Iterator[Text]:
    refusal = look.preview.refusal
    if refusal is not None and not (takes_output and decision is ReviewDecision.DONE):
        yield Text(f"{MEANINGS[decision]} Not possible now: {in_commands(clean(refusal.why))}.", style="dim")
        yield Text(in_commands(clean(refusal.remedy)), style="dim")
        return
    yield Text(MEANINGS[decision])
    if refusal is not None:
        yield Text("It would be recorded with the output that you give, and the run goes on.")
        return
    leads = look.preview.leads_to
    after = f"the run is {RUN_MARKS[leads]}" if leads else ""
    tasks = say_tasks(look.preview.tasks)
    yield Text(f"Then {after}{f'; next: {tasks}' if tasks else ''}.")
    for note in look.preview.notes:
        yield Text(in_commands(clean(note)))


def _print_decided(console: Console, review: ReviewRecord, clock: Clock) -> None:
    at = f", {clock.say_instant(review.decided_at)}" if review.decided_at else ""
    console.print(Text("\nDecided", style="bold"))
    decision = clean(review.decision).replace("_", "-")
    console.print(Padding(Text(f"{decision}, by {clean(review.decided_by)}{at}"), (0, 0, 0, 2)))
    if review.note:
        console.print(Padding(Text(clean(review.note)), (0, 0, 0, 2)))

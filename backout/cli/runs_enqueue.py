"""`backout runs enqueue`: a run for each line of a file."""

from __future__ import annotations

import io
import json
import os
import stat
import sys
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO, Any, Final

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from backout.cli.acting import say_sending
from backout.cli.completion import complete_pipelines
from backout.cli.definitions import import_definitions, module_option
from backout.cli.engine import FoundEngine, open_engine
from backout.cli.exits import Exit
from backout.cli.output import json_option, make_console, write_json_line
from backout.errors import InvalidInput, RequestError
from backout.pipelines.engine import engine_in_place
from backout.pipelines.enqueued import EnqueuedRuns
from backout.pipelines.many import PAIRS, enqueue_many
from backout.pipelines.registry import find_pipeline
from backout.views.words import clip, say_count, say_was

MOST_SHOWN: Final = 20
"""Refused lines that are shown to a person; --json has them all."""
UNREADABLE: Final = "unreadable_line"
"""In place of an error's code, where a line is no JSON."""


@click.command("enqueue")
@click.argument("pipeline", shell_complete=complete_pipelines)
@click.option(
    "--from-file",
    "source",
    type=click.File("rb"),
    metavar="FILE",
    required=True,
    help="One input on each line, as JSON; - reads standard input.",
)
@click.option(
    "--event-field", metavar="NAME", help="The field of each input that is its source event: text or a number."
)
@module_option
@json_option
@click.pass_context
def enqueue_command(
    ctx: click.Context,
    /,
    pipeline: str,
    source: IO[bytes],
    event_field: str | None,
    modules: tuple[str, ...],
    as_json: bool,
) -> None:
    """Enqueue a run of PIPELINE for each line of a file; up to a thousand in each transaction.

    Lines that cannot be used are named, the others are enqueued, and the exit code is then 1. With --event-field the
    same file may be given again: a source event has one run, however often it comes.

    With --json, a line for each line of the file, {"line", "run_id", "created"} or {"line", "code", "why"}, and at the
    end {"summary": {"lines", "enqueued", "created", "refused", "unsent"}}.
    """
    import_definitions(ctx, modules)
    definition = find_pipeline(pipeline)
    lines = _Lines(source=source, event_field=event_field)
    with open_engine(ctx) as found, _Bar(source, is_shown=not as_json) as bar, engine_in_place(found.engine):
        result = enqueue_many(
            definition,
            lines,
            source_event_ids=None if event_field is None else PAIRS,
            on_error="collect",
            progress=lambda done, refused, _: bar.show(lines, done, refused),
            connection=None,
            session=None,
        )
    refused = lines.refused_of(result)
    if as_json:
        _write(lines, result, refused)
    else:
        _print(make_console(ctx), pipeline, found, result, refused)
    ctx.exit(Exit.PROBLEM if refused else Exit.OK)


@dataclass(frozen=True, slots=True, kw_only=True)
class _RefusedLine:
    line: int
    code: str
    why: str


@dataclass(kw_only=True)
class _Lines:
    """The inputs of a file, read as they are wanted.

    Attributes:
        numbers: of the lines whose inputs were handed out, from 1, in order.
        unreadable: lines that are no JSON.
        read_bytes: so far.
    """

    source: IO[bytes]
    event_field: str | None
    numbers: array[int] = field(default_factory=lambda: array("Q"))
    unreadable: list[_RefusedLine] = field(default_factory=list)
    read_bytes: int = 0

    def __iter__(self) -> Iterator[Any]:
        """Return each input, or each pair of an input and its source event; empty lines are passed over."""
        for number, line in enumerate(self.source, 1):
            self.read_bytes += len(line)
            if not line.strip():
                continue
            try:
                value = json.loads(line)
            except (ValueError, RecursionError) as error:
                self.unreadable.append(_RefusedLine(line=number, code=UNREADABLE, why=f"it is no JSON: {error}"))
                continue
            self.numbers.append(number)
            yield value if self.event_field is None else (value, _event_of(value, self.event_field))

    def refused_of(self, result: EnqueuedRuns) -> list[_RefusedLine]:
        """Return the lines that have no run, in their order."""
        refused = [
            _RefusedLine(line=self.numbers[one.index], code=one.error.code, why=_say(one.error))
            for one in result.refused
        ]
        return sorted((*self.unreadable, *refused), key=lambda one: one.line)


def _event_of(value: object, name: str) -> object:
    found = value.get(name) if isinstance(value, dict) else None
    return str(found) if isinstance(found, int) and not isinstance(found, bool) else found


def _say(error: RequestError) -> str:
    # The message of one that was enqueued alone tells whoever called what to do; here there is a line to correct.
    return "; ".join(error.problems) if isinstance(error, InvalidInput) else str(error)


class _Bar:
    """How far a file has been read, where there is a terminal to show it."""

    def __init__(self, source: IO[bytes], *, is_shown: bool) -> None:
        columns = (TextColumn("Enqueueing"), BarColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
        console = Console(stderr=True)
        is_shown = is_shown and sys.stderr.isatty()
        self._progress = Progress(*columns, console=console, transient=True, disable=not is_shown)
        self._task = self._progress.add_task("", total=_size_bytes(source))

    def __enter__(self) -> _Bar:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, lines: _Lines, done: int, refused: int) -> None:
        """Show what is committed."""
        bad = refused + len(lines.unreadable)
        described = say_count(done - refused, "run") + (f", {bad:,} refused" if bad else "")
        self._progress.update(self._task, completed=lines.read_bytes, description=described)


def _size_bytes(source: IO[bytes]) -> int | None:
    try:
        status = os.fstat(source.fileno())
    except (OSError, io.UnsupportedOperation):
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) else None


def _write(lines: _Lines, result: EnqueuedRuns, refused: list[_RefusedLine]) -> None:
    why = {one.line: {"line": one.line, "code": one.code, "why": one.why} for one in refused}
    without_run = set(why)
    enqueued = zip((line for line in lines.numbers if line not in without_run), result, strict=True)
    runs = {line: {"line": line, "run_id": handle.id, "created": handle.was_created} for line, handle in enqueued}
    for line in sorted((*why, *runs)):
        write_json_line(why.get(line) or runs[line])
    counts = {"enqueued": len(result), "created": result.created, "refused": len(refused), "unsent": result.unsent}
    write_json_line({"summary": {"lines": len(result) + len(refused), **counts}})


def _print(
    console: Console, pipeline: str, found: FoundEngine, result: EnqueuedRuns, refused: list[_RefusedLine]
) -> None:
    known = len(result) - result.created
    already = f"; {say_was(known, 'there already')} for their source events" if known else ""
    console.print(f"✓ {say_count(result.created, 'run')} of {pipeline} enqueued{already}.", style="green")
    if result.unsent:
        sending = say_sending(found, is_sent=False)
        console.print(
            f"! {say_count(result.unsent, 'message')} of {result.created:,} not sent. {sending}", style="yellow"
        )
    if refused:
        console.print(f"✗ {say_count(len(refused), 'line')} refused:", style="red")
    for one in refused[:MOST_SHOWN]:
        console.print(f"  line {one.line}: {clip(one.why, 300)}", soft_wrap=True)
    if len(refused) > MOST_SHOWN:
        console.print(f"  … and {len(refused) - MOST_SHOWN:,} more; --json names all of them.", style="dim")

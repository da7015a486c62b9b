"""What to try after the demo: commands that work in the shell that started it."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from backout.cli.demo.stage import Stage
from backout.cli.demo.verdict import Evidence
from backout.cli.demo.worker import APP_MODULE
from backout.views.words import shorten_ids


@dataclass(frozen=True, slots=True, kw_only=True)
class NextStep:
    """A command to copy; `why` is what it shows, empty where the command says it all."""

    command: str
    why: str


def suggest(stage: Stage, *, shown_database: str, evidence: Sequence[Evidence]) -> list[NextStep]:
    """Return what to try, in order; the first command sets what the others need."""
    backout = find_own_command()
    steps = [
        NextStep(command=f"export BACKOUT_DATABASE_URL={shlex.quote(shown_database)}", why="the ledger of this demo"),
        NextStep(command=f"{backout} runs list", why="all runs"),
    ]
    ids = shorten_ids([item.picture.run.id for item in evidence])
    for run_id, item in zip(ids, evidence, strict=True):
        if item.killed is not None:
            why = "who did what, when and why, of the run whose worker was killed"
            steps.append(NextStep(command=f"{backout} runs show {run_id} --entries", why=why))
        elif not item.order.is_deliverable:
            why = "the rolled back run as a picture"
            command = f"{backout} runs show {run_id} --svg rolled-back.svg"
            steps.append(NextStep(command=command, why=why))
    steps.append(NextStep(command=f"{backout} --app {APP_MODULE} check", why="what each step promises"))
    if shutil.which("sqlite3"):
        command = f"sqlite3 -header -column {shlex.quote(str(stage.books_path))} 'SELECT * FROM request'"
        steps.append(NextStep(command=command, why="the books: every request that reached somebody outside"))
    return steps


def find_own_command() -> str:
    """Return how this program is called in the shell that started it.

    The name alone where the shell finds it by itself; otherwise the path, relative where that is shorter and right.
    """
    script = Path(sys.executable).with_name("backout")
    if not script.exists():
        return f"{shlex.quote(sys.executable)} -m backout"
    if os.environ.get("VIRTUAL_ENV") == sys.prefix or _is_found_elsewhere(script):
        return "backout"
    here = Path.cwd()
    # PWD is the shell's idea of where it is; a program that started us may have gone somewhere else.
    if script.is_relative_to(here) and os.environ.get("PWD", str(here)) == str(here):
        return shlex.quote(str(script.relative_to(here)))
    return shlex.quote(str(script))


def _is_found_elsewhere(script: Path) -> bool:
    """Return whether a folder of the PATH other than the script's own leads to it, as a link of pipx does.

    The script's own folder says nothing: whoever started us may have put it there for us alone.
    """
    if sys.prefix == sys.base_prefix:
        return shutil.which("backout") == str(script)
    folders = [folder for folder in os.environ.get("PATH", "").split(os.pathsep) if Path(folder) != script.parent]
    found = shutil.which("backout", path=os.pathsep.join(folders))
    return found is not None and Path(found).resolve() == script.resolve()

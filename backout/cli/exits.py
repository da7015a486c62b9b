"""How a command ends: the exit codes, and errors as one clear message instead of a traceback."""

from __future__ import annotations

import json
from enum import IntEnum
from typing import IO, Any, Final

import click

from backout.cli.wording import in_commands
from backout.errors import (
    ActionRefused,
    BackoutError,
    ConfigurationError,
    LedgerUnavailable,
    RequestError,
    StateChanged,
    UnknownPipeline,
    UnknownRun,
    WaitTimedOut,
)
from backout.views.words import clean

JSON_KEY: Final = "backout.cli.as_json"
"""Where the contexts of one invocation remember that JSON was asked for."""


class Exit(IntEnum):
    """What an exit code means. Documented in the help of the group; scripts rely on it."""

    OK = 0
    PROBLEM = 1
    USAGE = 2
    NOT_FOUND = 3
    TIMED_OUT = 4
    NEEDS_PERSON = 5
    REFUSED = 6
    CHANGED = 7
    INTERRUPTED = 130


EXIT_HELP: Final = """\b
Exit codes:
  0    it went well
  1    a problem was found: a run ended otherwise than it should, a check failed
  2    wrong usage or configuration, or the ledger cannot be reached
  3    no such run, review or pipeline
  4    the time given was up; the run goes on
  5    the run waits for a person
  6    refused: it cannot be done about this run as it is; nothing was changed
  7    somebody was faster: the run is not what you decided on; nothing was changed
  130  interrupted
"""


class UnknownReview(RequestError):
    """The ledger has no such review."""

    code = "unknown_review"

    def __init__(self, *, review_id: int) -> None:
        self.review_id = review_id
        super().__init__(f"the ledger has no review {review_id}. `backout reviews list --all` shows the numbers.")


def exit_code_of(error: BackoutError) -> Exit:
    """Return the exit code for an error that ended a command."""
    match error:
        case ConfigurationError() | LedgerUnavailable():
            return Exit.USAGE
        case UnknownRun() | UnknownReview() | UnknownPipeline():
            return Exit.NOT_FOUND
        case WaitTimedOut():
            return Exit.TIMED_OUT
        case ActionRefused():
            return Exit.REFUSED
        case StateChanged():
            return Exit.CHANGED
        case _:
            return Exit.PROBLEM


class Refusal(click.ClickException):
    """An error of backout as click shows it: on standard error, as a message or as `{"error": {code, message, …}}`.

    What was refused or was too late has further keys: `verb`, `run_id`, and `why` and `remedy`, or `expected`, `found`
    and `by`.
    """

    def __init__(self, error: BackoutError, *, as_json: bool) -> None:
        super().__init__(_say(error))
        self.code = error.code
        self.as_json = as_json
        is_told = isinstance(error, ActionRefused | StateChanged)
        self.facts = {name: in_commands(clean(text)) for name, text in vars(error).items()} if is_told else {}
        # click types it as the class's, and reads it from the instance.
        self.__dict__["exit_code"] = int(exit_code_of(error))

    def show(self, file: IO[Any] | None = None) -> None:
        """Write the error to standard error, or to `file`."""
        if self.as_json:
            document = {"error": {"code": self.code, "message": self.message, **self.facts}}
            click.echo(json.dumps(document), file=file, err=file is None)
        else:
            click.echo(f"Error: {self.message}", file=file, err=file is None)
            if self.code == ActionRefused.code and self.facts["run_id"] != "unknown":
                click.echo(f"What can be done: backout runs next {self.facts['run_id']}", file=file, err=file is None)


def _say(error: BackoutError) -> str:
    """Return the message as somebody at the command line reads it: with what they type, not with names in Python."""
    text = clean(error)
    verb = getattr(error, "verb", None)
    if isinstance(verb, str) and text.startswith(f"{verb} "):
        text = f"`{verb}`{text.removeprefix(verb)}"
    return in_commands(text)

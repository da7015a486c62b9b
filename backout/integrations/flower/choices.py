"""What an operator says about the tab, among Flower's own options: on its command line, in `FLOWER_…`, in its file."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

from tornado.options import define, options

PREFIX: Final = "backout_"
FLOWERS: Final = "FLOWER_"
ENVIRONMENT: Final = f"{FLOWERS}BACKOUT_"
_unknown: Final[list[str]] = []
"""Options that were given and that there are not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """The options, as far as the tab needs them.

    Attributes:
        database_url: of the ledger; empty: the Celery app's.
        operators: names or e-mail addresses of those who may act; `None`: whoever is logged in.
        read_only: nobody may act.
        act_without_login: whoever reaches Flower may act, where it asks for no login.
        has_login: Flower asks who is there.
        unknown: options of the tab that were given and that there are not: what they were to forbid is not known.
        metrics_seconds: how often the ledger is read for `/metrics`; 0: never.
    """

    database_url: str
    operators: frozenset[str] | None
    read_only: bool
    act_without_login: bool
    has_login: bool
    metrics_seconds: int
    unknown: tuple[str, ...]

    @classmethod
    def of(cls, given: Any) -> Self:
        """Read them from Flower's options."""
        return cls(
            database_url=given.backout_database_url or "",
            # Given and empty, as by a variable that is not set, it names nobody.
            operators=frozenset(name.strip() for name in given.backout_operators) - {""}
            if given.backout_operators
            else None,
            # Flower before 2.2 has no such option of its own.
            read_only=given.backout_read_only or getattr(given, "read_only", False),
            act_without_login=given.backout_act_without_login,
            has_login=bool(given.basic_auth or given.auth),
            unknown=tuple(_unknown),
            metrics_seconds=given.backout_metrics_seconds,
        )

    def say_why_not(self, name: str) -> str:
        """Return why somebody may look and not act; empty when they may act."""
        if self.unknown:
            return f"this Flower was started with an option that there is not ({', '.join(self.unknown)})"
        if self.read_only:
            return "this Flower is read-only (--read_only or --backout_read_only)"
        if not self.has_login:
            needed = "this Flower does not ask who you are (--basic_auth, --auth or --backout_act_without_login)"
            return "" if self.act_without_login else needed
        if self.operators is not None and name not in self.operators:
            return f"{name} is not among the operators (--backout_operators)"
        return ""

    def say_who_acts(self) -> str:
        """Return who may act, for the log."""
        if self.has_login and self.operators is None:
            return "whoever is logged in" if not self.say_why_not("") else f"nobody, because {self.say_why_not('')}"
        if self.has_login and self.operators and not self.say_why_not(next(iter(self.operators))):
            return ", ".join(sorted(self.operators))
        return f"nobody, because {why}" if (why := self.say_why_not("")) else "whoever reaches it"


def define_options() -> None:
    """Add ours to Flower's options, with what the environment says of them; a second call changes nothing."""
    if f"{PREFIX}operators" in options:
        return
    define(
        f"{PREFIX}database_url",
        type=str,
        default="",
        help="where backout's ledger is, where the Celery app does not say so (an SQLAlchemy URL)",
    )
    define(
        f"{PREFIX}operators",
        type=str,
        default=[],
        multiple=True,
        help="who may act on runs: users of --basic_auth or e-mail addresses of --auth (default: all of them)",
    )
    define(f"{PREFIX}read_only", type=bool, default=False, help="let nobody act on runs")
    define(
        f"{PREFIX}act_without_login",
        type=bool,
        default=False,
        help="let whoever reaches Flower act on runs, where it asks for no login",
    )
    define(
        f"{PREFIX}metrics_seconds",
        # Not float: Flower's file would then have to say 30.0.
        type=int,
        default=15,
        help="how often runs are read for /metrics, which asks for no login; 0: they are not told there",
    )
    given = {name: value for name, value in os.environ.items() if name.startswith(ENVIRONMENT)}
    _unknown[:] = _apply(f"--{name.removeprefix(FLOWERS).lower()}={value}" for name, value in given.items())


def apply_command_line(words: Sequence[str]) -> None:
    """Read our options from a command line once more.

    Flower reads it before its file, and drops without a word what it does not know then: all of ours, where it is its
    file that installs the tab. And what is misspelt, by which everybody might act.

    Args:
        words: as typed.
    """
    ours = (word for word in words if word.startswith("--") and _name(word).startswith(PREFIX))
    _unknown.extend(_apply(ours))


def _apply(words: Iterable[str]) -> list[str]:
    """Set options; return the names that there are not."""
    unknown = []
    for word in words:
        if _name(word) in options:
            # The first word is skipped, as the name of a program.
            options.parse_command_line(["flower", word], final=False)
        else:
            unknown.append(f"--{_name(word)}")
    return unknown


def _name(word: str) -> str:
    return word.lstrip("-").partition("=")[0].replace("-", "_")

"""What an operator says about the tab, among Flower's own options: on its command line, in `FLOWER_…`, in its file."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

from tornado.options import Error, define, options

PREFIX: Final = "backout_"
FLOWERS: Final = "FLOWER_"
ENVIRONMENT: Final = f"{FLOWERS}BACKOUT_"
_SWITCHES: Final = frozenset((f"{PREFIX}read_only", f"{PREFIX}act_without_login"))
_SPELT: Final = {
    **dict.fromkeys(("1", "t", "true", "y", "yes", "on"), "true"),
    **dict.fromkeys(("0", "f", "false", "n", "no", "off"), "false"),
}
"""A yes and a no, as Flower takes them from its variables; Tornado takes all for a yes that is not false, f or 0."""
_unusable: Final[list[str]] = []
"""Options that were given and that there are not, or with a value that cannot be used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """The options, as far as the tab needs them.

    Attributes:
        database_url: of the ledger; empty: the Celery app's.
        operators: names or e-mail addresses of those who may act; `None`: whoever is logged in.
        read_only: nobody may act.
        act_without_login: whoever reaches Flower may act, where it asks for no login.
        has_login: Flower asks who is there.
        unusable: options of the tab that were given, and that there are not or whose value cannot be used: what they
            were to forbid is not known.
        metrics_seconds: how often the ledger is read for `/metrics`; 0: never.
    """

    database_url: str
    operators: frozenset[str] | None
    read_only: bool
    act_without_login: bool
    has_login: bool
    metrics_seconds: int
    unusable: tuple[str, ...]

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
            unusable=tuple(_unusable),
            metrics_seconds=given.backout_metrics_seconds,
        )

    def say_why_not(self, name: str) -> str:
        """Return why somebody may look and not act; empty when they may."""
        if why := self._say_why_nobody():
            return why
        if self.has_login and self.operators is not None and name not in self.operators:
            return f"{name} is not among the operators (--backout_operators)"
        return ""

    def say_who_acts(self) -> str:
        """Return who may act, for the log."""
        if why := self._say_why_nobody():
            return f"nobody, because {why}"
        if not self.has_login:
            return "whoever reaches it"
        return ", ".join(sorted(self.operators)) if self.operators else "whoever is logged in"

    def _say_why_nobody(self) -> str:
        if self.unusable:
            names = ", ".join(self.unusable)
            return f"this Flower was started with an option that there is not, or a value that cannot be used ({names})"
        if self.read_only:
            return "this Flower is read-only (--read_only or --backout_read_only)"
        if not self.has_login and not self.act_without_login:
            return "this Flower does not ask who you are (--basic_auth, --auth or --backout_act_without_login)"
        if self.has_login and self.operators is not None and not self.operators:
            return "nobody is named as an operator (--backout_operators)"
        return ""


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
    _unusable[:] = _apply(f"--{name.removeprefix(FLOWERS).lower()}={value}" for name, value in given.items())


def apply_command_line(words: Sequence[str]) -> None:
    """Read our options from a command line once more.

    Flower reads it before its file, and drops without a word what it does not know then: all of ours, where it is its
    file that installs the tab. And what is misspelt, by which everybody might act.

    Args:
        words: as typed.
    """
    ours = (word for word in words if word.startswith("--") and _name(word).startswith(PREFIX))
    _unusable.extend(_apply(ours))


def _apply(words: Iterable[str]) -> list[str]:
    """Set options, each whatever comes of the others; return the names of those that cannot be set."""
    return [f"--{_name(word)}" for word in words if not _set(word)]


def _set(word: str) -> bool:
    """Set an option; return whether there is one of that name that takes the value."""
    if _name(word) not in options:
        # Tornado would print its help.
        return False
    try:
        # The first word is skipped, as the name of a program.
        options.parse_command_line(["flower", _spell_switch(word)], final=False)
    except (Error, ValueError):
        return False
    return True


def _spell_switch(word: str) -> str:
    """Return a word with a yes or a no as Tornado spells it, if it is that of a switch.

    Raises:
        ValueError: it is neither.
    """
    name, equals, value = word.partition("=")
    if not equals or _name(word) not in _SWITCHES:
        return word
    if value.lower() not in _SPELT:
        raise ValueError(word)
    return f"{name}={_SPELT[value.lower()]}"


def _name(word: str) -> str:
    return word.lstrip("-").partition("=")[0].replace("-", "_")

"""What an operator says about the tab, among Flower's own options: on its command line, in `FLOWER_…`, in its file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Self

from tornado.options import define, options

PREFIX: Final = "backout_"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """The options, as far as the tab needs them.

    Attributes:
        database_url: of the ledger; empty: the Celery app's.
        operators: names or e-mail addresses of those who may act; empty: whoever is logged in.
        read_only: nobody may act.
        act_without_login: whoever reaches Flower may act, where it asks for no login.
        has_login: Flower asks who is there.
        metrics_seconds: how often the ledger is read for `/metrics`; 0: never.
    """

    database_url: str
    operators: frozenset[str]
    read_only: bool
    act_without_login: bool
    has_login: bool
    metrics_seconds: int

    @classmethod
    def of(cls, given: Any) -> Self:
        """Read them from Flower's options."""
        return cls(
            database_url=given.backout_database_url or "",
            operators=frozenset(name.strip() for name in given.backout_operators if name.strip()),
            # Flower before 2.2 has no such option of its own.
            read_only=given.backout_read_only or getattr(given, "read_only", False),
            act_without_login=given.backout_act_without_login,
            has_login=bool(given.basic_auth or given.auth),
            metrics_seconds=given.backout_metrics_seconds,
        )

    def say_why_not(self, name: str) -> str:
        """Return why somebody may look and not act; empty when they may act."""
        if self.read_only:
            return "this Flower is read-only (--read_only or --backout_read_only)"
        if not self.has_login:
            needed = "this Flower does not ask who you are (--basic_auth, --auth or --backout_act_without_login)"
            return "" if self.act_without_login else needed
        if self.operators and name not in self.operators:
            return f"{name} is not among the operators (--backout_operators)"
        return ""


def define_options() -> None:
    """Add ours to Flower's options; a second call changes nothing."""
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

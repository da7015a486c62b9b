"""The ways that are compared, described once."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from importlib.util import find_spec
from typing import Final

from backout.settings import Settings
from benchmarks.apps import ABSURD_SCHEMA_VARIABLE, BURST_VARIABLE, POLL_VARIABLE


class Store(StrEnum):
    """Where a way keeps what it must remember."""

    POSTGRES = "PostgreSQL"
    SQLITE = "SQLite"
    REDIS = "Redis"
    NONE = "nowhere"


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One way to run the same steps.

    Attributes:
        name: as in the tables.
        module: the application, see `benchmarks.apps`.
        uses_celery: its worker is Celery's; otherwise the module is run as a program, once for each process.
        variables: of its environment, besides those that all ways have.
        package: what must be installed beside backout; `None`: nothing.
        is_ordered: it runs the steps of a pipeline one after the other.
    """

    name: str
    module: str
    store: Store = Store.POSTGRES
    uses_celery: bool = True
    variables: Mapping[str, str] = field(default_factory=dict)
    package: str | None = None
    is_ordered: bool = True

    @property
    def is_backout(self) -> bool:
        """Whether it is ours."""
        return self.module == "benchmarks.apps.pipeline"


BASELINE: Final = "celery chain"
BACKOUT: Final = "backout"
KNOWS_BURSTS: Final = "burst_seconds" in Settings.model_fields

WAYS: Final = (
    Way(name=BASELINE, module="benchmarks.apps.chain"),
    Way(name="celery chain Redis", module="benchmarks.apps.chain", store=Store.REDIS),
    Way(name="celery tasks", module="benchmarks.apps.tasks", store=Store.NONE, is_ordered=False),
    Way(name=BACKOUT, module="benchmarks.apps.pipeline"),
    Way(name="backout no bursts", module="benchmarks.apps.pipeline", variables={BURST_VARIABLE: "0"}),
    Way(name="backout on SQLite", module="benchmarks.apps.pipeline", store=Store.SQLITE),
    Way(name="DBOS", module="benchmarks.apps.dbos_workflow", uses_celery=False, package="dbos"),
    Way(
        name="DBOS tuned",
        module="benchmarks.apps.dbos_workflow",
        uses_celery=False,
        package="dbos",
        variables={POLL_VARIABLE: "0.01"},
    ),
    Way(name="Absurd", module="benchmarks.apps.absurd_task", uses_celery=False, package="absurd_sdk"),
    Way(
        name="Absurd tuned",
        module="benchmarks.apps.absurd_task",
        uses_celery=False,
        package="absurd_sdk",
        variables={POLL_VARIABLE: "0.01"},
    ),
)


def choose_ways(names: Sequence[str]) -> tuple[tuple[Way, ...], dict[str, str]]:
    """Return the ways of these names that can be measured here, and for each of the others why it cannot.

    Raises:
        ValueError: a name is not the name of a way.
    """
    unknown = set(names) - {way.name for way in WAYS}
    if unknown:
        known = ", ".join(repr(way.name) for way in WAYS)
        raise ValueError(f"no such way: {', '.join(sorted(unknown))}; there are {known}")
    chosen = [way for way in WAYS if way.name in names]
    obstacles = {way.name: obstacle for way in chosen if (obstacle := _find_obstacle(way))}
    return tuple(way for way in chosen if way.name not in obstacles), obstacles


def _find_obstacle(way: Way) -> str | None:
    if way.package is not None and find_spec(way.package) is None:
        return f"the package {way.package.replace('_', '-')} is not installed (pip install '.[bench]')"
    if way.package == "absurd_sdk" and ABSURD_SCHEMA_VARIABLE not in os.environ:
        return f"{ABSURD_SCHEMA_VARIABLE} does not name Absurd's schema, sql/absurd.sql of its repository"
    if BURST_VARIABLE in way.variables and not KNOWS_BURSTS:
        return "this backout has no bursts"
    return None

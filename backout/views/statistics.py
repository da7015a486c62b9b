"""How pipelines are doing: what was enqueued and how it ended, what is open, and how long steps take."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from backout.events import Event
from backout.identifiers import RunId, enqueued_at
from backout.ledger import queries, statistics
from backout.ledger.session import Ledger, LedgerConnection
from backout.ledger.statistics import AttemptFact, Cohort, OpenReviews
from backout.states import FINAL_RUN_STATES, Direction, RunState

COUNTED_RUNS: Final = 250_000
"""Runs of all pipelines that are counted, the newest; where there are more, a shorter time is looked at."""
COUNTED_TO: Final = 10_000
"""Open runs of a pipeline in one state are counted so far, and open reviews of all pipelines."""
SAMPLED_RUNS: Final = 2_000
"""Runs whose attempts are looked at, shared out among the pipelines that have any."""
LEAST_SAMPLE: Final = 50
MOST_PIPELINES: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class StepStatistics:
    """What became of the attempts of a step, or of what undoes it.

    Attributes:
        direction: forward, or the compensation.
        attempts: that started.
        failures: attempts that ended with an error, whether another one followed or not.
        retries: attempts after the first of their row.
        p50_seconds: half of the attempts that succeeded took no longer, from start to end; `None`: none did.
        p95_seconds: the same of 95 in a hundred.
    """

    step: str
    direction: Direction
    attempts: int
    failures: int
    retries: int
    p50_seconds: float | None
    p95_seconds: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenRuns:
    """Runs in a state that is not final, whenever they were enqueued.

    Attributes:
        runs: one more than `COUNTED_TO` where there are more.
        oldest_at: when the oldest was enqueued, aware UTC.
    """

    state: RunState
    runs: int
    oldest: RunId
    oldest_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineStatistics:
    """One pipeline.

    Attributes:
        runs: state to the number of runs, of those enqueued in the time that is looked at.
        open_runs: by state; of any age.
        reviews: open ones; `None` when there are none.
        steps: in the order of the pipeline, each before what undoes it.
        sampled_runs: the newest runs of the time, from which `steps` was made.
    """

    name: str
    runs: Mapping[RunState, int]
    open_runs: tuple[OpenRuns, ...]
    reviews: OpenReviews | None
    steps: tuple[StepStatistics, ...]
    sampled_runs: int

    @property
    def enqueued(self) -> int:
        """Return how many runs were enqueued."""
        return sum(self.runs.values())

    @property
    def finished(self) -> int:
        """Return how many of those are final."""
        return sum(count for state, count in self.runs.items() if state in FINAL_RUN_STATES)

    def share(self, state: RunState) -> float | None:
        """Return which part of the finished runs has ended in a state, from 0 to 1; `None` when none is finished."""
        return self.runs.get(state, 0) / self.finished if self.finished else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """All pipelines of a ledger, by name.

    Attributes:
        since: from when on runs were counted, aware UTC.
        is_shortened: later than was asked for: there were more runs than are counted.
        now: the ledger's time.
        has_more: there are more pipelines than `MOST_PIPELINES`.
    """

    since: datetime
    is_shortened: bool
    now: datetime
    pipelines: tuple[PipelineStatistics, ...]
    has_more: bool

    @property
    def seconds(self) -> float:
        """Return how long the time is that is looked at; at least one second."""
        return max((self.now - self.since).total_seconds(), 1.0)


def read_statistics(ledger: Ledger, since: timedelta | datetime) -> Statistics:
    """Return how all pipelines are doing.

    Args:
        ledger: to read.
        since: how long ago, or the instant, aware UTC.
    """

    def read(connection: LedgerConnection) -> Statistics:
        now = queries.read_clock(connection)
        asked = now - since if isinstance(since, timedelta) else since
        return _read(connection, now, asked)

    return ledger.read(read)


def _read(connection: LedgerConnection, now: datetime, asked: datetime) -> Statistics:
    names = statistics.list_pipelines(connection, limit=MOST_PIPELINES + 1)
    cohort = statistics.count_cohort(connection, since=asked, limit=COUNTED_RUNS)
    since = asked if cohort.left_out is None else enqueued_at(cohort.left_out)
    reviews = statistics.count_open_reviews(connection, now=now, limit=COUNTED_TO)
    return Statistics(
        since=since,
        is_shortened=cohort.left_out is not None,
        now=now,
        pipelines=tuple(_read_one(connection, name, cohort, since, reviews) for name in names[:MOST_PIPELINES]),
        has_more=len(names) > MOST_PIPELINES,
    )


def _read_one(
    connection: LedgerConnection, name: str, cohort: Cohort, since: datetime, reviews: Mapping[str, OpenReviews]
) -> PipelineStatistics:
    runs = cohort.runs.get(name, {})
    found = statistics.list_open_states(connection, name, count_to=COUNTED_TO)
    share = max(SAMPLED_RUNS // max(len(cohort.runs), 1), LEAST_SAMPLE)
    facts: list[AttemptFact] = []
    sampled = 0
    if runs:
        sampled, facts = statistics.read_attempts(connection, name, since=since, most_runs=share)
    return PipelineStatistics(
        name=name,
        runs=runs,
        open_runs=tuple(
            OpenRuns(state=one.state, runs=one.runs, oldest=one.oldest, oldest_at=enqueued_at(one.oldest))
            for one in found
        ),
        reviews=reviews.get(name),
        steps=summarise_attempts(facts),
        sampled_runs=sampled,
    )


def summarise_attempts(facts: Iterable[AttemptFact]) -> tuple[StepStatistics, ...]:
    """Return what became of attempts, by step in the order of the pipeline, each before what undoes it.

    Args:
        facts: those of a run in the order in which they happened.
    """
    of_steps: dict[tuple[str, Direction], list[AttemptFact]] = {}
    for fact in facts:
        of_steps.setdefault((fact.step, fact.direction), []).append(fact)
    places = {
        key: (min(fact.position for fact in found), key[1] is not Direction.FORWARD) for key, found in of_steps.items()
    }
    return tuple(_summarise(*key, of_steps[key]) for key in sorted(of_steps, key=lambda key: (places[key], key[0])))


def _summarise(step: str, direction: Direction, facts: Sequence[AttemptFact]) -> StepStatistics:
    started = {_attempt(fact): fact.at for fact in facts if fact.event is Event.ATTEMPT_STARTED}
    # What was taken from another run took no time of its own.
    reused = {_attempt(fact) for fact in facts if fact.event is Event.RESULT_REUSED}
    took = sorted(
        (fact.at - started[_attempt(fact)]).total_seconds()
        for fact in facts
        if fact.event is Event.STEP_SUCCEEDED and _attempt(fact) in started.keys() - reused
    )
    return StepStatistics(
        step=step,
        direction=direction,
        attempts=len(started),
        failures=sum(fact.event in (Event.RETRY_SCHEDULED, Event.STEP_FAILED) for fact in facts),
        retries=sum(fact.attempt > 1 for fact in facts if fact.event is Event.ATTEMPT_STARTED),
        p50_seconds=find_percentile(took, 50),
        p95_seconds=find_percentile(took, 95),
    )


def _attempt(fact: AttemptFact) -> tuple[RunId, int, int, int]:
    return fact.run_id, fact.round, fact.position, fact.attempt


def find_percentile(ordered: Sequence[float], percent: int) -> float | None:
    """Return the nearest rank: the least value that so many of a hundred do not exceed; `None` of nothing.

    Args:
        ordered: values, the least first.
        percent: from 1 to 100.
    """
    return ordered[math.ceil(len(ordered) * percent / 100) - 1] if ordered else None


def say_rate(count: int, seconds: float) -> str:
    """Return how many that is a minute, an hour or a day, the first of them with one or more: `3.2 a minute`."""
    for unit_seconds, unit in ((60, "a minute"), (3_600, "an hour")):
        if (rate := count * unit_seconds / seconds) >= 1:
            return f"{rate:,.1f} {unit}"
    return f"{count * 86_400 / seconds:,.1f} a day"


def say_share(share: float | None) -> str:
    """Return a part in hundredths: `97.3 %`; what is not all and not nothing is never rounded to either."""
    if share is None:
        return "–"
    shown = f"{share * 100:.1f}"
    if shown in ("0.0", "100.0") and 0 < share < 1:
        shown = "<0.1" if share < 0.5 else ">99.9"
    return f"{shown.removesuffix('.0')} %"


def explain_statistics(found: Statistics) -> list[str]:
    """Return what the numbers mean, in sentences."""
    told = [
        "Enqueued and finished: the runs that were enqueued in this time, and those of them that are final by now. "
        "The shares are of the finished ones.",
        "Open runs and reviews: of any age.",
        "Steps: attempts of the newest runs of this time, their number beside each table. p50 and p95: half, and 95 in "
        "a hundred, of the attempts that succeeded took no longer from start to end (nearest rank).",
    ]
    if found.is_shortened:
        told.insert(0, f"More runs were enqueued than are counted: this is of the newest {COUNTED_RUNS:,}.")
    if found.has_more:
        told.append(f"Only the first {MOST_PIPELINES} pipelines are shown.")
    return told

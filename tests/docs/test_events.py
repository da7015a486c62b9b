"""The pages about events: the catalogue is the code's, and the examples run."""

from __future__ import annotations

import ast
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from celery._state import _set_current_app, _tls

import backout
from backout import Direction, EntryRecord, Lifecycle, LifecycleEvent, events, read_lifecycle
from backout.events import Event
from backout.identifiers import RunId
from backout.ledger import schema
from backout.pipelines.handle import RunHandle
from backout.signals import SIGNALS, send_signals
from backout.tasks.announce import event_fields, event_type
from backout.tasks.runtime import runtime_of
from tests.support.runs import RecordedRun
from tests.support.waiting import wait_until

DOCS = Path(__file__).parents[2] / "docs"
REFERENCE = DOCS / "reference" / "events.md"
HOWTO = DOCS / "howto" / "react-to-events.md"
RUN = RunId("01985c3e-7f5a-7000-8000-000000000001")
AT = datetime(2025, 11, 22, tzinfo=UTC)


# The catalogue


def sayings(enum: str) -> dict[str, str]:
    """Return what the source says of each member of an enum: the text below it."""
    (found,) = (
        node
        for node in ast.parse(Path(events.__file__).read_text()).body
        if isinstance(node, ast.ClassDef) and node.name == enum
    )
    said: dict[str, str] = {}
    for member, text in zip(found.body, found.body[1:], strict=False):
        if isinstance(member, ast.Assign) and isinstance(text, ast.Expr):
            said[ast.literal_eval(member.value)] = " ".join(ast.literal_eval(text.value).split())
    return said


def told_as(event: Event) -> str:
    """Return what an entry of a first attempt means; with another outcome or direction, see the text below."""
    about = Direction.FORWARD if event not in (Event.RUN_IN_REVIEW, Event.ROLLBACK_FINISHED) else None
    entry = EntryRecord(
        id=1,
        at=AT,
        run_id=RUN,
        round=1,
        position=0,
        step="charge_card",
        direction=about,
        attempt=1,
        event=event,
        actor="engine",
        reason=None,
        detail={"outcome": "complete"},
    )
    return ", ".join(f"`{told.name.value}`" for told in read_lifecycle(entry)) or "–"


def rows(heading: str) -> list[str]:
    section = REFERENCE.read_text().partition(f"## {heading}\n")[2].partition("\n## ")[0]
    return re.findall(r"^\| `.*$", section, re.MULTILINE)


def test_every_lifecycle_event_has_its_line() -> None:
    """The page says what the code says, in its order; a new name is a new line."""
    said = sayings("Lifecycle")
    assert rows("Lifecycle events") == [f"| `{name.value}` | {said[name.value]} |" for name in Lifecycle]


def test_every_entry_event_has_its_line_with_what_it_means() -> None:
    """Whoever reads the ledger with SQL finds each event, and by what name others are told of it."""
    said = sayings("Event")
    assert rows("Entry events") == [f"| `{event.value}` | {said[event.value]} | {told_as(event)} |" for event in Event]


def test_every_field_has_its_line() -> None:
    """Of the value that receivers get; and those that Celery events carry are marked."""
    in_celery = event_fields(
        LifecycleEvent(
            name=Lifecycle.RUN_CREATED,
            entry_id=1,
            at=AT,
            run_id=RUN,
            pipeline=None,
            step=None,
            direction=None,
            attempt=None,
            actor="",
            reason=None,
        )
    )
    found = [re.match(r"\| `(\w+)` \| .* \| (yes|–|as its type|`timestamp`) \|$", row) for row in rows("Fields")]
    documented = {match[1]: match[2] == "yes" for match in found if match is not None}
    assert documented == {name: name in in_celery for name in LifecycleEvent.__dataclass_fields__}


# The examples


def blocks(language: str = "python") -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", HOWTO.read_text(), re.DOTALL)


def load(number: int, **names: Any) -> dict[str, Any]:
    """Run an example in a module of the reader's own, in which these names exist."""
    space = {"__name__": "shop.receivers", **names}
    exec(compile(blocks()[number], str(HOWTO), "exec"), space)  # the point of the test
    return space


def event(name: Lifecycle, **values: Any) -> LifecycleEvent:
    fields = {
        "name": name,
        "entry_id": 1,
        "at": AT,
        "run_id": RUN,
        "pipeline": "fulfil_order",
        "step": None,
        "direction": None,
        "attempt": None,
        "actor": "engine",
        "reason": "compensation_failed",
        **values,
    }
    return LifecycleEvent(**fields)


@pytest.fixture
def app(sqlite_url: str) -> Iterator[Celery]:
    """The reader's app: current, with a ledger, and a broker inside this process."""
    before = getattr(_tls, "current_app", None)
    made = Celery("shop", broker="memory://", backend=None)
    backout.install(made, database_url=sqlite_url)
    schema.upgrade(runtime_of(made).unverified_ledger)
    made.set_current()
    yield made
    _set_current_app(before)
    runtime_of(made).unverified_ledger.dispose()


@contextmanager
def receivers_removed() -> Iterator[None]:
    """Take away what an example connects."""
    before = {signal: list(signal.receivers) for signal in SIGNALS.values()}
    try:
        yield
    finally:
        for signal, receivers in before.items():
            signal.receivers[:] = receivers


def test_receivers_of_signals_are_called() -> None:
    """Each for what it has asked for."""
    paged: list[tuple[str, str | None]] = []
    thanked: list[str] = []
    with receivers_removed():
        load(0, pager=lambda run, why: paged.append((run, why)), thank=thanked.append)
        send_signals(event(Lifecycle.REVIEW_OPENED))
        send_signals(event(Lifecycle.RUN_SUCCEEDED))
        send_signals(event(Lifecycle.RUN_SUCCEEDED, pipeline="newsletter"))
    assert paged == [(RUN, "compensation_failed")]
    assert thanked == [RUN]


def test_who_follows_goes_on_at_the_cursor(app: Celery) -> None:
    """Everything is dealt with, and after a restart nothing is missed or lost."""
    kept = {"cursor": 0}
    counted: list[str] = []
    example = load(
        1,
        load_cursor=lambda: kept["cursor"],
        save_cursor=lambda cursor: kept.update(cursor=cursor),
        count=lambda event: counted.append(event.name.value),
    )
    for run in ("first", "second"):
        RecordedRun(ledger=runtime_of(app).ledger, source_event=run).roll_back_order()
        example["react"](timeout=0)
    assert counted.count("run_rolled_back") == 2
    assert counted[-1] == "run_rolled_back"


def test_one_run_is_watched(app: Celery, capsys: pytest.CaptureFixture[str]) -> None:
    """From the handle that enqueue returned."""
    run = RecordedRun(ledger=runtime_of(app).ledger)
    run.roll_back_order()
    handle = RunHandle(id=run.id, was_created=True, pipeline=None, engine=runtime_of(app))  # type: ignore[arg-type] # not asked for
    load(2, run=handle)
    assert "rollback_step_succeeded charge_card" in capsys.readouterr().out


def test_monitor_hears_celery_events(app: Celery) -> None:
    """As the worker would send them."""
    heard: list[str] = []
    watch = load(3, pager=lambda run, why: heard.append(run))["watch"]
    watching = threading.Thread(target=lambda: watch(app, limit=1), daemon=True)
    watching.start()
    told = event(Lifecycle.RUN_FAILED)

    def is_heard() -> bool:
        with app.events.default_dispatcher() as dispatcher:
            dispatcher.send(event_type(told), **event_fields(told))
        return bool(heard)

    wait_until(is_heard, 10, "the monitor hears")
    assert heard[0] == RUN


def test_command_of_the_page_exists() -> None:
    """With its options."""
    (line,) = [line for block in blocks("console") for line in block.splitlines() if "runs watch" in line]
    assert "celery -A shop backout runs watch --all --json --after " in line

"""Many inputs at once, on each database: which runs there are afterwards, and what the result says."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal

import pytest
from pydantic import BaseModel, Field
from sqlalchemy import Connection, create_engine, event, func, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from backout import (
    ConfigurationError,
    EnqueuedRuns,
    InvalidInput,
    PayloadTooLarge,
    Pipeline,
    RefusedInput,
    RunHandle,
    RunState,
    UnknownRun,
)
from backout.faultpoints import FaultPoint, SimulatedDeath, armed
from backout.identifiers import RunId, TaskId
from backout.ledger.models import run
from backout.ledger.session import Ledger
from backout.pipelines.engine import engine_in_place
from backout.settings import Settings
from tests.support.definitions import make, unique
from tests.support.ledgers import on_postgresql, read_events, read_run
from tests.support.recorder import RecordingEngine

THOUSAND = 1_000


class Parcel(BaseModel):
    number: int = Field(ge=0)
    to: str = "Ada"


def send(parcel: Parcel) -> str:
    return f"sent {parcel.number}"


@pytest.fixture(scope="module")
def ship() -> Pipeline:
    return Pipeline(unique("ship"), [make(send)], subject=lambda parcel: parcel.to)


@pytest.fixture
def recorder(ledger: Ledger) -> Iterator[RecordingEngine]:
    """The engine with which pipelines are enqueued; it notes what is sent."""
    settings = Settings(database_url=ledger.shown_url, max_payload_bytes=600_000)
    engine = RecordingEngine(ledger=ledger, settings=settings)
    with engine_in_place(engine):
        yield engine


def sent(recorder: RecordingEngine) -> list[RunId]:
    return [message.key.run_id for (message,) in recorder.sent]


def count_runs(ledger: Ledger) -> int:
    return ledger.read(lambda connection: connection.execute(select(func.count()).select_from(run)).scalar_one())


def test_runs_are_those_of_enqueue(recorder: RecordingEngine, ship: Pipeline) -> None:
    """Each input has a run as `enqueue` makes it, and its message; the handles are in the order of the inputs."""
    alone = ship.enqueue(Parcel(number=5))
    result = ship.enqueue_many([Parcel(number=5), {"number": 6, "to": "Bob"}])
    assert isinstance(result, EnqueuedRuns)
    assert (len(result), result.created, result.refused, result.unsent) == (2, 2, (), 0)
    assert all(isinstance(handle, RunHandle) and handle.was_created for handle in result)
    first, second = (handle.status() for handle in result)
    assert (first.input, second.input) == ({"number": 5, "to": "Ada"}, {"number": 6, "to": "Bob"})
    assert (first.subject_id, second.subject_id) == ("Ada", "Bob")
    assert first.state is RunState.PENDING
    assert read_events(recorder.ledger, first.id) == read_events(recorder.ledger, alone.id)
    assert sent(recorder) == [alone.id, first.id, second.id]
    messages = [message for (message,) in recorder.sent]
    assert messages[0].sending_options().keys() == messages[1].sending_options().keys()
    assert messages[1].task_id == TaskId(first.id)


def test_generator_is_taken_a_thousand_at_a_time(recorder: RecordingEngine, ship: Pipeline) -> None:
    """No more than a thousand inputs are held, and what is committed is sent before more are taken."""
    taken, told = 0, []

    def inputs() -> Iterator[Parcel]:
        nonlocal taken
        for number in range(2 * THOUSAND + 5):
            taken += 1
            yield Parcel(number=number)

    def note(done: int, refused: int, total: int | None) -> None:
        told.append((done, refused, total))
        assert taken == done == len(recorder.sent) == count_runs(recorder.ledger)

    result = ship.enqueue_many(inputs(), progress=note)
    assert told == [(1000, 0, None), (2000, 0, None), (2005, 0, None)]
    assert [handle.id for handle in result] == sent(recorder)
    assert read_run(recorder.ledger, result.handles[1500].id).input == {"number": 1500, "to": "Ada"}


def test_large_inputs_fill_a_transaction_earlier(recorder: RecordingEngine) -> None:
    """A statement carries little more than a megabyte, whatever the inputs are."""
    told: list[tuple[int, int, int | None]] = []
    big = Pipeline(unique("big"), [make(send)])
    inputs = [{"number": number, "to": '"' * 280_000} for number in range(5)]
    big.enqueue_many(inputs, progress=lambda *given: told.append(given))
    assert told == [(2, 0, 5), (4, 0, 5), (5, 0, 5)]


def test_no_inputs_are_no_runs(recorder: RecordingEngine, ship: Pipeline) -> None:
    """Nothing to do is no error, and nobody is told of progress."""
    told: list[object] = []
    assert len(ship.enqueue_many(iter(()), progress=lambda *given: told.append(given))) == 0
    assert told == recorder.sent == []


@pytest.mark.parametrize("way", ["pairs", "function"])
def test_one_event_has_one_run(recorder: RecordingEngine, ship: Pipeline, way: str) -> None:
    """R9: the second input of an event gets the first's run, in one call, in the next, and beside `enqueue`."""
    alone = ship.enqueue(Parcel(number=3), source_event_id="parcel-3")
    numbers = [1, 2, 1, 3, *range(10, 10 + THOUSAND), 2]
    result = enqueue_with_events(ship, numbers, way)
    ids = [handle.id for handle in result]
    assert (ids[2], ids[3], ids[-1]) == (ids[0], alone.id, ids[1])
    created = [handle.was_created for handle in result]
    assert created == [True, True, False, False, *[True] * THOUSAND, False]
    assert result.created == THOUSAND + 2
    assert sent(recorder) == [alone.id, *(handle.id for handle in result if handle.was_created)]
    again = enqueue_with_events(ship, numbers, way)
    assert ([handle.id for handle in again], again.created) == (ids, 0)
    assert ship.enqueue(Parcel(number=1), source_event_id="parcel-1").id == ids[0]
    assert count_runs(recorder.ledger) == THOUSAND + 3


def enqueue_with_events(pipeline: Pipeline, numbers: Iterable[int], way: str) -> EnqueuedRuns:
    if way == "pairs":
        pairs = ((Parcel(number=number), f"parcel-{number}") for number in numbers)
        return pipeline.enqueue_many(pairs, source_event_ids="pairs")
    inputs = ({"number": str(number)} for number in numbers)
    return pipeline.enqueue_many(inputs, source_event_ids=lambda parcel: f"parcel-{parcel.number}")


def die() -> None:
    raise SimulatedDeath


def test_process_that_died_is_followed_by_one_that_does_the_rest(recorder: RecordingEngine, ship: Pipeline) -> None:
    """R4, R9: after a death between two thousands the same call leads to one run for each input."""
    numbers = range(2 * THOUSAND)
    with armed({FaultPoint.ENQUEUE_COMMITTED: die}), pytest.raises(SimulatedDeath):
        enqueue_with_events(ship, numbers, "function")
    assert (count_runs(recorder.ledger), recorder.sent) == (THOUSAND, [])
    result = enqueue_with_events(ship, numbers, "function")
    assert [handle.was_created for handle in result] == [False] * THOUSAND + [True] * THOUSAND
    assert count_runs(recorder.ledger) == 2 * THOUSAND
    # The first thousand's messages are the sweeper's.
    assert sent(recorder) == [handle.id for handle in result.handles[THOUSAND:]]


def test_commit_whose_answer_is_lost_is_not_done_again(recorder: RecordingEngine, ship: Pipeline) -> None:
    """A connection that dies after the commit, before it says so, doubles nothing and hides nothing."""
    known = ship.enqueue(Parcel(number=1), source_event_id="parcel-1")
    answers = ["lost"]

    def commit(connection: Connection) -> None:
        if answers:
            connection.connection.commit()
            raise DBAPIError("COMMIT", {}, Exception(answers.pop()), connection_invalidated=True)

    event.listen(recorder.ledger._engine, "commit", commit)
    try:
        result = enqueue_with_events(ship, [1, 2, 3], "pairs")
    finally:
        event.remove(recorder.ledger._engine, "commit", commit)
    assert answers == []
    assert [handle.was_created for handle in result] == [False, True, True]
    assert result.handles[0].id == known.id
    assert count_runs(recorder.ledger) == 3
    assert len(sent(recorder)) == 3


BAD: list[Any] = [
    {"number": -1},
    {"number": 1, "to": ""},
    "parcel",
    {"number": 1, "to": "x" * 600_000},
    {"number": object()},
]


def test_bad_inputs_are_named_and_the_others_are_enqueued(
    recorder: RecordingEngine, ship: Pipeline, caplog: pytest.LogCaptureFixture
) -> None:
    """R10: nothing is written of an input that cannot be used; its index and its error are in the result."""
    told: list[tuple[int, int, int | None]] = []
    inputs = [{"number": 0}, *BAD, {"number": 9}]
    result = ship.enqueue_many(inputs, progress=lambda *given: told.append(given))
    assert [handle.status().input for handle in result] == [{"number": n, "to": "Ada"} for n in (0, 9)]
    assert count_runs(recorder.ledger) == len(sent(recorder)) == 2
    assert all(isinstance(one, RefusedInput) for one in result.refused)
    assert [(one.index, type(one.error)) for one in result.refused] == [
        (1, InvalidInput),
        (2, InvalidInput),
        (3, InvalidInput),
        (4, PayloadTooLarge),
        (5, InvalidInput),
    ]
    assert "number: Input should be greater than or equal to 0" in str(result.refused[0].error)
    assert told == [(7, 5, 7)]
    assert f"5 of 7 inputs of {ship.name} were refused, the first is input 1" in caplog.text


def test_only_bad_inputs_are_no_runs(recorder: RecordingEngine, ship: Pipeline) -> None:
    """Progress is told all the same."""
    told: list[tuple[int, int, int | None]] = []
    inputs = [{"number": -1}] * (THOUSAND + 1)
    result = ship.enqueue_many(inputs, progress=lambda *given: told.append(given))
    assert (len(result), len(result.refused), result.unsent) == (0, THOUSAND + 1, 0)
    assert told == [(1000, 1000, 1001), (1001, 1001, 1001)]
    assert recorder.sent == []


@pytest.mark.parametrize(
    ("way", "item"),
    [
        ("pairs", {"number": 1}),
        ("pairs", ({"number": 1}, None)),
        ("pairs", ({"number": 1}, "")),
        ("pairs", ({"number": 1}, "x" * 256)),
        (lambda parcel: None, {"number": 1}),
        (lambda parcel: 1 / 0, {"number": 1}),
    ],
)
def test_input_without_an_event_of_its_own_is_refused(
    recorder: RecordingEngine, ship: Pipeline, way: Any, item: Any
) -> None:
    """Who asks for one run for each event gets no run that could be doubled."""
    result = ship.enqueue_many([item], source_event_ids=way)
    (refused,) = result.refused
    assert isinstance(refused.error, InvalidInput)
    assert "source_event_id" in str(refused.error)
    assert count_runs(recorder.ledger) == 0


def test_first_bad_input_is_raised_where_that_is_asked_for(recorder: RecordingEngine, ship: Pipeline) -> None:
    """Those before it are enqueued, it and those after it are not, and its index is told."""
    inputs = iter([{"number": number} for number in (0, 1, -1, 3)])
    with pytest.raises(InvalidInput) as caught:
        ship.enqueue_many(inputs, on_error="raise")
    assert caught.value.__notes__ == ["This is input 2, counted from 0: those before it are enqueued, no other is."]
    assert count_runs(recorder.ledger) == len(sent(recorder)) == 2
    assert list(inputs) == [{"number": 3}]


def test_result_holds_no_input(recorder: RecordingEngine, ship: Pipeline) -> None:
    """A million inputs are not kept by the handles and errors of their runs."""
    kept: list[weakref.ref[Parcel]] = []

    def inputs() -> Iterator[Parcel]:
        for number in (1, 2):
            parcel = Parcel.model_construct(number=number - 2, to="Ada" * number)
            kept.append(weakref.ref(parcel))
            yield parcel

    result = ship.enqueue_many(inputs())
    gc.collect()
    assert (len(result), len(result.refused)) == (1, 1)
    assert [one() for one in kept] == [None, None]
    assert result.refused[0].error.__traceback__ is None


def test_failure_of_the_generator_is_the_callers(recorder: RecordingEngine, ship: Pipeline) -> None:
    """What is committed stays; of the thousand that was not full nothing is written."""

    def inputs() -> Iterator[Parcel]:
        for number in range(THOUSAND + 3):
            yield Parcel(number=number)
        raise OSError("the file ends here")

    with pytest.raises(OSError, match="the file ends here"):
        ship.enqueue_many(inputs())
    assert count_runs(recorder.ledger) == len(sent(recorder)) == THOUSAND


@pytest.mark.parametrize(
    ("inputs", "options", "said"),
    [
        ("parcel", {}, "was given a str"),
        ({"number": 1}, {}, "was given a dict"),
        (Parcel(number=1), {}, "was given a Parcel"),
        (7, {}, "was given a int"),
        ([], {"source_event_ids": ["event-1"]}, "source_event_ids="),
        ([], {"source_event_ids": "event-1"}, "source_event_ids='event-1'"),
        ([], {"on_error": "ignore"}, "on_error='ignore'"),
        ([], {"connection": 1, "session": 2}, "both connection= and session="),
    ],
)
def test_arguments_that_mean_nothing_are_refused(
    recorder: RecordingEngine, ship: Pipeline, inputs: Any, options: dict[str, Any], said: str
) -> None:
    """What looks like many inputs and is one, or a word that is none of ours, is told before anything is written."""
    with pytest.raises(ConfigurationError, match=said):
        ship.enqueue_many(inputs, **options)


class Theirs:
    """A transaction of the caller's, on a connection or through a session."""

    def __init__(self, ledger: Ledger, kind: Literal["connection", "session"]) -> None:
        self.engine = create_engine(ledger._url)
        self.open: Any = self.engine.connect() if kind == "connection" else Session(self.engine)
        self.given: dict[str, Any] = {kind: self.open}

    def end(self, how: Callable[[Any], None]) -> None:
        how(self.open)
        self.open.close()
        self.engine.dispose()


@pytest.mark.parametrize("kind", ["connection", "session"])
def test_callers_transaction_has_all_of_them(
    recorder: RecordingEngine, ship: Pipeline, kind: Literal["connection", "session"]
) -> None:
    """However many, they are committed together, and sent after the commit."""
    theirs, event_of = Theirs(recorder.ledger, kind), (lambda parcel: f"parcel-{parcel.number // 2}")
    inputs = [{"number": number} for number in range(2 * THOUSAND + 2)]
    result = ship.enqueue_many(inputs, source_event_ids=event_of, **theirs.given)
    assert (len(result), result.created, result.unsent) == (2 * THOUSAND + 2, THOUSAND + 1, None)
    assert recorder.sent == []
    with pytest.raises(UnknownRun):
        result.handles[0].status()
    theirs.end(lambda one: one.commit())
    assert sent(recorder) == [handle.id for handle in result if handle.was_created]
    assert count_runs(recorder.ledger) == THOUSAND + 1


@pytest.mark.parametrize("kind", ["connection", "session"])
def test_callers_rollback_takes_all_of_them_back(
    recorder: RecordingEngine, ship: Pipeline, kind: Literal["connection", "session"]
) -> None:
    """Also those of thousands that were full, and those before an input that is raised."""
    theirs = Theirs(recorder.ledger, kind)
    inputs = [{"number": number} for number in [*range(THOUSAND + 1), -1]]
    with pytest.raises(InvalidInput):
        ship.enqueue_many(inputs, on_error="raise", **theirs.given)
    theirs.end(lambda one: one.rollback())
    assert (count_runs(recorder.ledger), recorder.sent) == (0, [])


@on_postgresql
def test_savepoint_takes_its_own_back(recorder: RecordingEngine, ship: Pipeline) -> None:
    """What was enqueued inside a savepoint goes with it."""
    theirs = Theirs(recorder.ledger, "connection")
    kept = ship.enqueue_many([{"number": 1}], **theirs.given)
    savepoint = theirs.open.begin_nested()
    ship.enqueue_many([{"number": 2}, {"number": 3}], **theirs.given)
    savepoint.rollback()
    theirs.end(lambda one: one.commit())
    assert sent(recorder) == [kept.handles[0].id]
    assert count_runs(recorder.ledger) == 1

"""Two at the same instant, on two real connections: one wins, the other is told, and nothing is lost."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial

import pytest
from sqlalchemy import Connection, select, update

from backout.identifiers import RunId, new_run_id
from backout.ledger import due, queries, transitions
from backout.ledger.models import run
from backout.ledger.records import Claim, StepKey
from backout.ledger.session import KeyTaken, Ledger
from backout.states import RunState, StepState
from tests.support.ledgers import (
    LONG_AGO,
    RESEND_SECONDS,
    claim,
    create_run,
    describe_run,
    doubt,
    key_of,
    put_run,
    read_events,
    read_run,
    read_step,
    release,
    retry_later,
    set_step,
    start_run,
    succeed,
    try_claim,
)
from tests.support.threads import run_together

ROUNDS = 10
"""How often each race is run: the barrier makes them start together, chance decides who is first."""

END = Callable[[Ledger, Claim], object]


def test_of_two_claims_of_one_row_one_wins(ledger: Ledger) -> None:
    """R3: two workers that get the same message at the same instant: one runs it."""
    for _ in range(ROUNDS):
        key = key_of(create_run(ledger))
        claims = run_together([lambda: try_claim(ledger, key)] * 4)  # noqa: B023 - used in this round only
        assert sum(claimed is not None for claimed in claims) == 1
        assert read_step(ledger, key).attempt == 1
        assert read_events(ledger, key.run_id).count("attempt_started") == 1


def test_of_two_claims_under_one_key_of_its_own_one_wins(ledger: Ledger) -> None:
    """Two runs whose step has the same key: one holds it, the other is told by the database."""
    for number in range(ROUNDS):
        keys = [key_of(create_run(ledger)) for _ in range(3)]
        exclusive_key = f"order-{number}"
        works = [partial(_claim_exclusively, ledger, key, exclusive_key) for key in keys]
        assert sorted(run_together(works)) == [False, False, True]


def _claim_exclusively(ledger: Ledger, key: StepKey, exclusive_key: str) -> bool:
    try:
        return ledger.repeat(lambda: try_claim(ledger, key, exclusive_key=exclusive_key)) is not None
    except KeyTaken:
        return False


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param(lambda ledger, claimed: succeed(ledger, claimed, output=1), doubt, id="success-doubt"),
        pytest.param(lambda ledger, claimed: succeed(ledger, claimed, output=1), release, id="success-release"),
        pytest.param(lambda ledger, claimed: retry_later(ledger, claimed, delay_seconds=5), doubt, id="retry-doubt"),
        pytest.param(release, doubt, id="release-doubt"),
        pytest.param(release, release, id="release-release"),
        pytest.param(
            lambda ledger, claimed: succeed(ledger, claimed, next_name="charge"),
            lambda ledger, claimed: succeed(ledger, claimed, next_name="charge"),
            id="success-success",
        ),
    ],
)
def test_of_two_ends_of_one_attempt_one_wins(ledger: Ledger, one: END, other: END) -> None:
    """R3: the outcome of an attempt and the sweeper that takes it for lost cannot both be recorded."""
    for _ in range(ROUNDS):
        claimed = start_run(ledger)
        works = [lambda end=end: end(ledger, claimed) for end in (one, other)]  # noqa: B023 - used in this round only
        assert sorted(map(bool, run_together(works))) == [False, True]
        assert read_run(ledger, claimed.key.run_id).attempt_count == 1


def test_a_claim_races_with_the_end_of_the_one_before(ledger: Ledger) -> None:
    """R3: a message that comes while the sweeper gives the row back claims it before or after, or not at all."""
    for _ in range(ROUNDS):
        claimed = start_run(ledger)
        released, again = run_together(
            [
                lambda: release(ledger, claimed),  # noqa: B023 - used in this round only
                lambda: try_claim(ledger, claimed.key, attempt=2),  # noqa: B023
            ]
        )
        assert released is True
        found = read_step(ledger, claimed.key)
        assert found.state is (StepState.READY if again is None else StepState.RUNNING)
        assert found.attempt == (1 if again is None else 2)


def test_a_heartbeat_races_with_the_end_of_its_claim(ledger: Ledger) -> None:
    """R3: a beat that comes after the claim has ended does not bring it back."""
    for _ in range(ROUNDS):
        claimed = start_run(ledger)
        run_together(
            [
                lambda: release(ledger, claimed),  # noqa: B023 - used in this round only
                lambda: _beat(ledger, claimed),  # noqa: B023
            ]
        )
        found = read_step(ledger, claimed.key)
        assert (found.state, found.claim_expires_at, found.claim_token) == (StepState.READY, None, None)


def _beat(ledger: Ledger, claimed: Claim) -> bool:
    with ledger.change() as connection:
        return transitions.extend_claim(connection, claimed, lease_seconds=60)


def test_of_two_runs_of_one_source_event_one_is_created(ledger: Ledger) -> None:
    """R9: two processes enqueue one source event at the same instant; both end with the same run."""
    for number in range(ROUNDS):
        works = [lambda: _enqueue(ledger, f"form-{number}")] * 4  # noqa: B023 - used in this round only
        answers = run_together(works)
        assert len({run_id for run_id, _ in answers}) == 1
        assert sum(was_created for _, was_created in answers) == 1


def _enqueue(ledger: Ledger, source_event_id: str) -> tuple[RunId | None, bool]:
    new = describe_run(source_event_id=source_event_id)
    with ledger.transaction() as connection:
        was_created = transitions.create_run(connection, new, resend_seconds=RESEND_SECONDS)
        return queries.find_first_run_of_event(connection, new.pipeline, source_event_id), was_created


def test_ids_recorded_at_the_same_instant_are_all_kept(ledger: Ledger) -> None:
    """R14: external ids of several threads of one attempt do not overwrite each other."""
    claimed = start_run(ledger)
    names = [f"id-{number}" for number in range(16)]
    works = [lambda name=name: _record_id(ledger, claimed, name) for name in names]
    assert all(run_together(works))
    assert set(read_step(ledger, claimed.key).external_ids) == set(names)
    assert set(read_run(ledger, claimed.key.run_id).external_ids) == set(names)


def _record_id(ledger: Ledger, claimed: Claim, name: str) -> bool:
    with ledger.change() as connection:
        return transitions.record_external_id(connection, claimed, name=name, value="1")


def test_no_update_that_depends_on_a_read_is_lost(ledger: Ledger) -> None:
    """240 transactions that read, add one and write back on 8 connections: on SQLite's defaults most were lost."""
    with ledger.transaction() as connection:
        run_id = put_run(connection, state=RunState.RUNNING)
    run_together([lambda: _add_ones(ledger, run_id, times=30)] * 8)
    assert read_run(ledger, run_id).attempt_count == 240


def _add_ones(ledger: Ledger, run_id: RunId, *, times: int) -> None:
    for _ in range(times):
        with ledger.transaction() as connection:
            # FOR UPDATE is for servers; SQLite holds the only write lock from the first statement on.
            found = connection.execute(select(run.c.attempt_count).where(run.c.id == run_id).with_for_update())
            count = found.scalar_one()
            connection.execute(update(run).where(run.c.id == run_id).values(attempt_count=count + 1))


def test_two_sweepers_never_take_the_same_row(ledger: Ledger) -> None:
    """R12: however many sweepers run, each due row is handled by one of them at a time."""
    keys = [key_of(create_run(ledger)) for _ in range(20)]
    for key in keys:
        set_step(ledger, key, sweep_at=LONG_AGO)
    held = threading.Lock()
    in_hand: set[StepKey] = set()
    taken: list[StepKey] = []

    def sweep() -> None:
        for _ in range(10):
            with ledger.transaction() as connection:
                mine = [row.key for row in due.take_due_steps(connection, limit=3)]
                with held:
                    assert not in_hand & set(mine)
                    in_hand.update(mine)
                    taken.extend(mine)
                _look_again_later(connection, mine)
                with held:
                    in_hand.difference_update(mine)

    run_together([sweep] * 4)
    assert sorted(taken, key=lambda key: key.run_id) == sorted(keys, key=lambda key: key.run_id)


def _look_again_later(connection: Connection, keys: list[StepKey]) -> None:
    for key in keys:
        transitions.postpone_step(connection, key, seconds_from_now=600)


def test_a_whole_run_under_contention_is_recorded_once(ledger: Ledger) -> None:
    """R2, R12: four workers that all get every message record each step once and in order."""
    run_id = create_run(ledger, id=new_run_id())

    def work() -> int:
        return sum(_run_step(ledger, key_of(run_id, position), is_last=position == 4) for position in range(5))

    for _ in range(5):
        run_together([work] * 4)
    assert read_run(ledger, run_id).state is RunState.SUCCEEDED
    assert read_run(ledger, run_id).attempt_count == 5
    assert read_events(ledger, run_id).count("step_succeeded") == 5


def _run_step(ledger: Ledger, key: StepKey, *, is_last: bool) -> bool:
    claimed = try_claim(ledger, key)
    next_name = None if is_last else f"step_{key.position + 1}"
    return claimed is not None and succeed(ledger, claimed, next_name=next_name)


def test_many_threads_get_claims_that_carry_their_own_run(ledger: Ledger) -> None:
    """A claim's facts belong to its own run, also when many are taken at once."""
    run_ids = [create_run(ledger, subject_id=f"customer-{number}") for number in range(12)]
    claims = run_together([partial(claim, ledger, key_of(run_id)) for run_id in run_ids])
    assert [claimed.run.subject_id for claimed in claims] == [f"customer-{number}" for number in range(12)]
    assert [claimed.key.run_id for claimed in claims] == run_ids

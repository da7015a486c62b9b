"""Changes that are handed straight to PostgreSQL's driver behave like everything that SQLAlchemy executes."""

import os
import signal
import threading
from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, bindparam, func, select, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import DBAPIError, IntegrityError

from backout.identifiers import new_claim_token
from backout.ledger import schema, transitions
from backout.ledger.change import constant
from backout.ledger.driver import KEPT_ROWS, DriverStatement
from backout.ledger.models import step
from backout.ledger.records import Claim, StepKey
from backout.ledger.session import Ledger
from backout.states import StepState
from tests.support.ledgers import LEASE_SECONDS, claim, create_run, key_of, read_step, try_claim
from tests.support.waiting import wait_until

WAITING = text("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'")


@pytest.fixture
def ledger(postgres_url: str) -> Iterator[Ledger]:
    """A migrated ledger on PostgreSQL whose connections the test may break."""
    own = Ledger(postgres_url, pool_size=2)
    schema.upgrade(own)
    yield own
    own.dispose()


def claim_on(connection: Connection, key: StepKey) -> Claim | None:
    return transitions.claim_step(
        connection, key, token=new_claim_token(), lease_seconds=LEASE_SECONDS, worker="worker-1", attempt=1
    )


def backend_of(connection: Connection) -> int:
    process_id: int = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
    return process_id


def test_taken_key_is_an_integrity_error(ledger: Ledger) -> None:
    """Code that tells errors apart need not know how a statement was executed."""
    claim(ledger, key_of(create_run(ledger)), own_key="k", exclusive_key="order-1")
    with pytest.raises(IntegrityError):
        try_claim(ledger, key_of(create_run(ledger)), own_key="k", exclusive_key="order-1")
    assert try_claim(ledger, key_of(create_run(ledger))) is not None


def test_dead_connection_is_told_and_leaves_the_pool(ledger: Ledger) -> None:
    """An attempt that finds a dead connection is repeated on a live one."""
    key = key_of(create_run(ledger))
    with ledger.change() as connection:
        killed = backend_of(connection)
        with ledger.transaction() as other:
            other.execute(text("SELECT pg_terminate_backend(:killed)"), {"killed": killed})
        with pytest.raises(DBAPIError) as raised:
            claim_on(connection, key)
    assert raised.value.connection_invalidated
    with ledger.change() as connection:
        assert backend_of(connection) != killed
        assert claim_on(connection, key) is not None


def test_cut_off_statement_gives_up_its_connection(ledger: Ledger, postgres_url: str) -> None:
    """Nobody gets a connection on which a signal left a statement in the middle."""
    key = key_of(create_run(ledger))
    with ledger.transaction() as holder, ledger.change() as connection:
        claim_on(holder, key)
        cut_off = backend_of(connection)
        interrupting = threading.Thread(target=interrupt_waiting, args=(postgres_url,))
        interrupting.start()
        with pytest.raises(KeyboardInterrupt):
            claim_on(connection, key)
        interrupting.join()
    with ledger.change() as first, ledger.change() as second:
        assert cut_off not in (backend_of(first), backend_of(second))


def test_read_that_a_timeout_cut_off_gives_up_its_connection(ledger: Ledger) -> None:
    """A step's timeout is an ordinary exception: SQLAlchemy alone would give the busy connection to everybody after."""
    seen: list[int] = []

    def ring(*_: object) -> None:
        raise TimeoutError

    def sleep_long(connection: Connection) -> None:
        seen.append(backend_of(connection))
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        connection.execute(text("SELECT pg_sleep(20)"))

    before = signal.signal(signal.SIGALRM, ring)
    try:
        with pytest.raises(TimeoutError):
            ledger.read(sleep_long)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert ledger.read(backend_of) not in seen


def interrupt_waiting(url: str) -> None:
    """Interrupt the main thread once its statement stands in the queue for a lock."""
    # A pool of its own, so that the ledger's pool holds no more than the test looks at.
    watching = Ledger(url)
    wait_until(lambda: watching.read(lambda connection: connection.execute(WAITING).scalar_one()), 10, "it waits")
    watching.dispose()
    os.kill(os.getpid(), signal.SIGINT)


def test_change_in_a_transaction_is_taken_back_with_it(ledger: Ledger) -> None:
    """The transactions of an outcome hold for changes as for all other statements."""
    key = key_of(create_run(ledger))
    with ledger.transaction() as connection:
        assert claim_on(connection, key) is not None
        connection.get_transaction().rollback()  # type: ignore[union-attr]  # it has one
    assert read_step(ledger, key).state is StepState.READY


def test_transaction_after_a_change_on_the_same_connection_is_no_autocommit(ledger: Ledger) -> None:
    """What a worker does in autocommit does not leak into the transactions of the same pool."""
    with ledger.change() as connection:
        backend = backend_of(connection)
    with ledger.transaction() as connection:
        assert backend_of(connection) == backend
        assert connection.execute(text("SHOW transaction_isolation")).scalar_one() == "read committed"
        assert connection.connection.driver_connection.autocommit is False  # type: ignore[union-attr]  # it has one


def test_change_after_a_transaction_that_was_refused_is_committed(ledger: Ledger) -> None:
    """A connection that is kept after a taken key commits each statement again."""
    claim(ledger, key_of(create_run(ledger)), own_key="k", exclusive_key="order-1")
    other = key_of(create_run(ledger))
    used: list[int] = []

    def claim_taken_key() -> None:
        with ledger.transaction() as connection:
            used.append(backend_of(connection))
            transitions.claim_step(
                connection,
                other,
                token=new_claim_token(),
                lease_seconds=LEASE_SECONDS,
                worker="worker-1",
                attempt=1,
                own_key="k",
                exclusive_key="order-1",
            )

    with pytest.raises(IntegrityError):
        claim_taken_key()
    with ledger.change() as connection:
        assert [backend_of(connection)] == used
        assert claim_on(connection, other) is not None
    ledger.dispose()
    assert read_step(ledger, other).state is StepState.RUNNING


def test_in_over_parameters_is_refused() -> None:
    """The text of a compiled statement never depends on its parameters."""
    statement = select(step.c.run_id).where(step.c.state.in_(bindparam("b_states", expanding=True)))
    with pytest.raises(ValueError, match="b_states"):
        DriverStatement.compile(statement, postgresql.dialect())  # type: ignore[no-untyped-call]  # it has no types


def test_constant_that_needs_quotes_is_refused() -> None:
    """Only words of our own stand in a statement as they are."""
    with pytest.raises(ValueError, match="it's"):
        constant("it's")


@pytest.mark.parametrize(("rows", "is_kept"), [(KEPT_ROWS, True), (KEPT_ROWS + 1, False)])
def test_large_answer_is_not_kept_in_memory(ledger: Ledger, rows: int, is_kept: bool) -> None:
    """The cursor that a statement has on each connection would hold it until the statement is run again."""
    statement = DriverStatement.compile(
        select(func.generate_series(1, rows).label("number")),
        postgresql.dialect(),  # type: ignore[no-untyped-call]  # it has no types
    )
    with ledger.change() as connection:
        assert len(statement.all_rows(connection, {})) == rows
        assert (statement in connection.info["backout_cursors"]) is is_kept

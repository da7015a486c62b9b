"""Transactions of the caller's: taken where they are on the ledger's own database, refused where they are not."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Column, Engine, Integer, MetaData, Table, create_engine, event, insert, select
from sqlalchemy.engine import URL
from sqlalchemy.orm import Session

from backout.errors import ConfigurationError
from backout.ledger import callers, queries, schema, transitions
from backout.ledger.session import Ledger
from tests.support.ledgers import RESEND_SECONDS, describe_run

SIGN = Table("sign", MetaData(), Column("id", Integer, primary_key=True))
"""A business table."""


def spell_differently(url: URL, folder: Path) -> URL:
    """Return another URL of the same database: another driver, another way to the file, another name of the host."""
    match url.get_backend_name():
        case "postgresql":
            return url.set(drivername="postgresql+psycopg2")
        case "sqlite":
            (folder / "way").symlink_to(os.path.dirname(str(url.database)))
            return url.set(database=str(folder / "way" / os.path.basename(str(url.database))))
        case _:
            return url.set(drivername="mariadb+pymysql")


def make_engine(url: URL | str) -> Engine:
    """Return an engine as an application makes one, and a business table in its database."""
    engine = create_engine(url)
    with engine.begin() as connection:
        SIGN.metadata.drop_all(connection)
        SIGN.metadata.create_all(connection)
    return engine


@pytest.fixture
def same(ledger: Ledger, tmp_path: Path) -> Iterator[Engine]:
    """An application's engine that leads to the ledger's database."""
    engine = make_engine(spell_differently(ledger._url, tmp_path))
    yield engine
    SIGN.metadata.drop_all(engine)
    engine.dispose()


@pytest.fixture
def other(empty_url: str) -> Iterator[Engine]:
    """An application's engine that leads to another database, without a ledger; once for each kind of database."""
    engine = make_engine(empty_url)
    yield engine
    engine.dispose()


def test_same_database_is_known_by_another_url(ledger: Ledger, same: Engine) -> None:
    """A run is written in the transaction of a session whose URL is spelt differently, by another driver."""
    new = describe_run()
    with Session(same) as session:
        session.execute(insert(SIGN).values(id=1))
        found = callers.find_transaction(ledger, connection=None, session=session)
        assert found is not None
        assert found.connection is session.connection()
        assert transitions.create_run(found.connection, new, resend_seconds=RESEND_SECONDS)
        session.commit()
    assert ledger.read(lambda connection: queries.find_run(connection, new.id)) is not None


def test_second_transaction_of_an_engine_is_not_asked_again(ledger: Ledger, same: Engine) -> None:
    """What a server has said of a pool's connections is remembered: enqueueing costs no statement more."""
    asked: list[str] = []
    with same.connect() as first:
        assert callers.find_transaction(ledger, connection=first, session=None) is not None
    event.listen(same, "before_cursor_execute", lambda *arguments: asked.append(arguments[2]))
    with same.connect() as second:
        found = callers.find_transaction(ledger, connection=second, session=None)
    assert found is not None
    assert found.connection is second
    assert asked == []


@pytest.mark.parametrize("has_tables", [False, True], ids=["without a ledger", "with another ledger"])
@pytest.mark.parametrize("way", ["session", "connection"])
@pytest.mark.parametrize("ledger", ["postgresql"], indirect=True)
def test_another_database_is_refused_before_anything_is_written(
    ledger: Ledger, other: Engine, empty_url: str, way: str, has_tables: bool
) -> None:
    """A transaction on another database gets an error with a remedy, and goes on as if nobody had asked."""
    if has_tables:
        theirs = Ledger(empty_url)
        schema.upgrade(theirs)
        theirs.dispose()
    with Session(other) as session:
        session.execute(insert(SIGN).values(id=1))
        given = {"connection": None, "session": None, way: session if way == "session" else session.connection()}
        with pytest.raises(ConfigurationError, match="the ledger is another database") as caught:
            callers.find_transaction(ledger, connection=given["connection"], session=given["session"])
        session.commit()
    assert "leave session= and connection= out" in str(caught.value)
    with other.connect() as connection:
        assert connection.execute(select(SIGN.c.id)).scalars().all() == [1]


@pytest.mark.parametrize("ledger", ["postgresql"], indirect=True)
def test_copy_of_the_tables_in_another_schema_is_refused(ledger: Ledger) -> None:
    """A session whose search path leads to other tables of the same database does not write into them."""
    engine = create_engine(ledger._url.update_query_dict({"options": "-c search_path=elsewhere"}))
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE SCHEMA elsewhere")
        connection.exec_driver_sql("CREATE TABLE elsewhere.backout_run (LIKE public.backout_run)")
    try:
        with Session(engine) as session, pytest.raises(ConfigurationError, match="or other tables of it"):
            callers.find_transaction(ledger, connection=None, session=session)
    finally:
        with engine.begin() as connection:
            connection.exec_driver_sql("DROP SCHEMA elsewhere CASCADE")
        engine.dispose()


@pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)
@pytest.mark.parametrize("empty_url", ["sqlite"], indirect=True)
def test_ledger_of_a_test_waits_for_the_commit_of_another_database(ledger: Ledger, other: Engine) -> None:
    """On a ledger that is a test's own, code that hands its session over runs unchanged: recorded after the commit."""
    called: list[str] = []
    with callers.outside_of_frameworks(), Session(other) as session:
        for name, end in (("rolled back", session.rollback), ("committed", session.commit)):
            session.execute(insert(SIGN).values(id=1))
            found = callers.find_transaction(ledger, connection=None, session=session)
            assert found is not None
            assert found.connection is None
            found.after_commit(lambda name=name: called.append(name))  # type: ignore[misc]
            assert called == []
            end()
    assert called == ["committed"]


@pytest.mark.parametrize("empty_url", ["postgresql"], indirect=True)
def test_user_who_may_not_ask_for_the_servers_number_is_let_in(own_ledger: Ledger) -> None:
    """Where the application's user may know less of the server than the ledger's, what both know decides."""
    role = f"clerk_{os.urandom(4).hex()}"
    with own_ledger.transaction() as connection:
        connection.exec_driver_sql("REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC")
        connection.exec_driver_sql(f"CREATE ROLE {role} LOGIN IN ROLE pg_read_all_data")
    engine = create_engine(own_ledger._url.set(username=role, password=None))
    try:
        with engine.connect() as connection:
            found = callers.find_transaction(own_ledger, connection=connection, session=None)
            assert found is not None
            assert found.connection is connection
    finally:
        engine.dispose()
        with own_ledger.transaction() as connection:
            connection.exec_driver_sql(f"DROP ROLE {role}")

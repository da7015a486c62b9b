"""The four tables, as a person reads them with `psql`; CHECKs are built from `states.TRANSITIONS`.

On PostgreSQL the CHECKs of runs and steps stand in functions that raise under the same names, see `rules`.

No foreign keys between them: on the hot path one costs 118 µs for each step, rows of a run are only written by the
functions of `transitions`, and retention removes a run's rows together.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.mysql import DATETIME as MYSQL_DATETIME
from sqlalchemy.dialects.mysql import JSON as MYSQL_JSON
from sqlalchemy.dialects.mysql import LONGTEXT
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.dialects.sqlite import JSON as SQLITE_JSON
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.types import TypeDecorator

from backout.ledger.rules import check_by_function
from backout.states import (
    FINAL_RUN_STATES,
    FINISHED_STEP_STATES,
    TRANSITIONS,
    Direction,
    ReviewReason,
    RollbackOutcome,
    StepState,
)

NAMING: Final = {
    "pk": "pk_%(table_name)s",
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
}

MYSQL: Final = ("mysql", "mariadb")
"""SQLAlchemy's names for it: which one it is depends on the URL, and MariaDB answers to both."""

STORED: Final[dict[str, Any]] = {
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_0900_bin",
    "mariadb_engine": "InnoDB",
    "mariadb_charset": "utf8mb4",
    "mariadb_collate": "utf8mb4_nopad_bin",
}
"""How MySQL stores a table, whatever the server's default: "A", "a" and "a " differ, as on every other database."""

FORGIVEN: Final = "failed attempts that do not count against the retries: a person asked for more"

EXTERNAL_IDS_INDEX: Final = "ix_backout_run_external_ids"
"""On databases whose dialect `indexes_json_values`."""

metadata = MetaData(naming_convention=NAMING)


class Instant(TypeDecorator[datetime]):
    """An aware UTC instant with microseconds; databases without time zones store UTC."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> Any:
        """Ask MySQL for microseconds, which it drops by default."""
        if dialect.name in MYSQL:
            return dialect.type_descriptor(MYSQL_DATETIME(fsp=6))
        return dialect.type_descriptor(DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuse naive instants: nobody could say which moment they mean."""
        if value is None:
            return None
        if value.tzinfo is None:
            message = "an instant must be aware"
            raise ValueError(message)
        utc = value.astimezone(UTC)
        return utc if dialect.name == "postgresql" else utc.replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return aware UTC."""
        if value is None:
            return None
        return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)


_uuid = Uuid(as_uuid=False).with_variant(String(36), "sqlite", *MYSQL)
"""Canonical text where there is no UUID type, so that a person can search for what the command line shows."""


class _TextJSON(SQLITE_JSON):
    """JSON in a column of type TEXT: SQLite makes a float of a large number in a column that is declared as JSON."""


@compiles(_TextJSON, "sqlite")
def _text_json(_type: _TextJSON, _compiler: object, **_: object) -> str:
    return "TEXT"


class _LongTextJSON(MYSQL_JSON[Any]):
    """JSON as text: MySQL makes a float of a large number in a column of its type JSON, and sorts the keys."""


@compiles(_LongTextJSON, "mysql", "mariadb")
def _long_text_json(_type: _LongTextJSON, _compiler: object, **_: object) -> str:
    return "LONGTEXT"


def _json(*, none_as_null: bool = False) -> JSON:
    text_json, long_text_json = _TextJSON(none_as_null=none_as_null), _LongTextJSON(none_as_null=none_as_null)
    return JSON(none_as_null=none_as_null).with_variant(text_json, "sqlite").with_variant(long_text_json, *MYSQL)


_document = _json()
"""JSON as it was written: inputs, outputs, errors. PostgreSQL keeps the text."""

_detail = _json(none_as_null=True)
"""The same, where Python's `None` is not an answer but the absence of one."""

_mapping = _json().with_variant(JSONB(), "postgresql")
"""JSON that statements change in place: external ids."""

_text = Text().with_variant(LONGTEXT(), *MYSQL)
"""Text of any length; MySQL's TEXT ends at 64 kB."""

_serial = BigInteger().with_variant(Integer, "sqlite")
"""SQLite counts up by itself only for `INTEGER PRIMARY KEY`."""


def _one_of(column: str, values: Iterable[str], name: str) -> CheckConstraint:
    listed = ", ".join(f"'{value}'" for value in sorted(values))
    return CheckConstraint(f"{column} IN ({listed})", name=name)


def _reachable(subject: str) -> set[str]:
    """Return the states that some arrow leads to: a row in another state cannot exist."""
    return {target for arrow in TRANSITIONS.values() if arrow.subject == subject for target in arrow.targets}


def _iff(state_in: Iterable[str], column: str, name: str) -> CheckConstraint:
    listed = ", ".join(f"'{value}'" for value in sorted(state_in))
    return CheckConstraint(f"(state IN ({listed})) = ({column} IS NOT NULL)", name=name)


run = Table(
    "backout_run",
    metadata,
    Column("id", _uuid, primary_key=True),
    Column("pipeline", String(200), nullable=False),
    Column("definition_digest", String(64), nullable=False),
    Column("plan", _document, nullable=False, comment="steps and contracts as they were at enqueue"),
    Column("source_event_id", String(255), comment="NULL: enqueued without one"),
    Column("subject_id", String(255), comment="NULL: the pipeline names no subject"),
    Column("state", String(20), nullable=False),
    Column("round", Integer, nullable=False, server_default=text("1")),
    Column("operator_state", _text, nullable=False),
    Column("last_successful_step", String(200), comment="NULL: none yet"),
    Column("external_ids", _mapping, nullable=False),
    Column("attempt_count", Integer, nullable=False, server_default=text("0"), comment="attempts with an outcome"),
    Column("next_retry_at", Instant, comment="NULL: no retry is scheduled"),
    Column("requires_human_review", Boolean(create_constraint=False), nullable=False),
    Column("error_summary", _text, comment="the forward error; NULL: none"),
    Column("rollback_outcome", String(20), nullable=False),
    Column("input", _document, nullable=False),
    Column("output", _document, comment="of the last step; NULL: not succeeded"),
    Column("created_at", Instant, nullable=False),
    Column("updated_at", Instant, nullable=False),
    Column("finished_at", Instant, comment="NULL: not final"),
    Column("deadline_at", Instant, comment="a step that would start later fails; NULL: none"),
    Column("rollback_to", Integer, comment="position of the last step that a rollback leaves; NULL: it undoes all"),
    _one_of("state", _reachable("run"), "state"),
    _one_of("rollback_outcome", RollbackOutcome, "rollback_outcome"),
    _iff(FINAL_RUN_STATES, "finished_at", "final_is_finished"),
    # The event first: people search for it without knowing the pipeline.
    Index("uq_backout_run_event", "source_event_id", "pipeline", unique=True),
    Index("ix_backout_run_state", "state", "id"),
    Index("ix_backout_run_pipeline", "pipeline", "state", "id"),
    Index("ix_backout_run_subject", "subject_id", "id"),
    Index(
        "ix_backout_run_person",
        "requires_human_review",
        "id",
        postgresql_where=text("requires_human_review"),
        sqlite_where=text("requires_human_review = 1"),
    ),
    # Not `updated_at`: each attempt changes it, and PostgreSQL would then write into every index each time.
    Index(
        "ix_backout_run_deadline",
        "deadline_at",
        postgresql_where=text("deadline_at IS NOT NULL AND finished_at IS NULL"),
        sqlite_where=text("deadline_at IS NOT NULL AND finished_at IS NULL"),
    ),
    **STORED,
)

step = Table(
    "backout_step",
    metadata,
    Column("run_id", _uuid, primary_key=True),
    Column("round", Integer, primary_key=True, autoincrement=False),
    Column("position", Integer, primary_key=True, autoincrement=False, comment="index in the plan, from 0"),
    Column("direction", String(12), primary_key=True),
    Column("step", String(200), nullable=False),
    Column("state", String(20), nullable=False),
    Column("attempt", Integer, nullable=False, comment="attempts started so far"),
    Column("lost_attempts", Integer, nullable=False, comment="attempts that ended without an answer"),
    Column("start_order", Integer, nullable=False, comment="order of start in its direction, from 1"),
    Column("idempotency_key", String(500), nullable=False),
    Column("exclusive_key", String(500), comment="set while a step with a key of its own runs or has succeeded"),
    Column("claim_token", _uuid, comment="of the attempt that runs or wrote the outcome; NULL: none, or lost"),
    Column("claim_expires_at", Instant, comment="NULL: not running"),
    Column("task_id", _uuid, nullable=False, comment="of the Celery message"),
    Column("output", _document, comment="NULL: none recorded"),
    Column("external_ids", _mapping, nullable=False),
    Column("error", _document, comment="of the last attempt that failed; NULL: none"),
    Column("next_retry_at", Instant, comment="NULL: no retry is scheduled"),
    Column("sends", Integer, nullable=False, comment="messages sent for the attempt that is due"),
    Column("sweep_at", Instant, comment="when the sweeper looks at this row; NULL: never"),
    Column("dispatched_at", Instant, comment="when the last message was sent; NULL: not yet"),
    Column("started_at", Instant, comment="of the first attempt; NULL: never started"),
    Column("finished_at", Instant, comment="NULL: not finished"),
    Column("claimed_by", String(200), comment="the process that holds or held the claim; NULL: none, or unknown"),
    Column("may_run_until", Instant, comment="until then an attempt that was given up may still run; NULL: none"),
    Column("forgiven_attempts", Integer, nullable=False, server_default=text("0"), comment=FORGIVEN),
    _one_of("state", _reachable("step"), "state"),
    _one_of("direction", Direction, "direction"),
    _iff(FINISHED_STEP_STATES, "finished_at", "finished"),
    _iff({StepState.RUNNING}, "claim_expires_at", "running_has_claim"),
    CheckConstraint("state <> 'running' OR claim_token IS NOT NULL", name="running_has_token"),
    CheckConstraint("(state = 'retry_scheduled') = (next_retry_at IS NOT NULL)", name="retry_has_time"),
    CheckConstraint("state <> 'kept' OR direction = 'compensation'", name="kept_is_compensation"),
    CheckConstraint("state <> 'undone' OR direction = 'forward'", name="undone_is_forward"),
    CheckConstraint("state <> 'waiting' OR sweep_at IS NOT NULL", name="waiting_has_time"),
    Index(
        "uq_backout_step_exclusive_key",
        "exclusive_key",
        unique=True,
        postgresql_where=text("exclusive_key IS NOT NULL"),
    ),
    Index(
        "ix_backout_step_sweep",
        "sweep_at",
        postgresql_where=text("sweep_at IS NOT NULL"),
        sqlite_where=text("sweep_at IS NOT NULL"),
    ),
    **STORED,
)

entry = Table(
    "backout_entry",
    metadata,
    Column("id", _serial, primary_key=True, autoincrement=True),
    Column("at", Instant, nullable=False),
    Column("run_id", _uuid, comment="NULL: a message that named no run"),
    Column("round", Integer, comment="NULL: about no step"),
    Column("position", Integer, comment="NULL: about no step"),
    Column("step", String(200), comment="NULL: about the run"),
    Column("direction", String(12), comment="NULL: about the run"),
    Column("attempt", Integer, comment="NULL: about no attempt"),
    Column("event", String(40), nullable=False),
    Column("actor", String(200), nullable=False),
    Column("reason", _text, comment="NULL: the event says it all"),
    Column("detail", _detail, comment="NULL: none"),
    Index("ix_backout_entry_run", "run_id", "id"),
    **STORED,
)

review = Table(
    "backout_review",
    metadata,
    Column("id", _serial, primary_key=True, autoincrement=True),
    Column("run_id", _uuid, nullable=False),
    Column("round", Integer, nullable=False),
    Column("position", Integer, comment="NULL: about the run"),
    Column("step", String(200), comment="NULL: about the run"),
    Column("direction", String(12), comment="NULL: about the run"),
    Column("reason", String(40), nullable=False),
    Column("evidence", _document, nullable=False),
    Column("opened_at", Instant, nullable=False),
    Column("deadline_at", Instant, comment="NULL: none"),
    Column("assignee", String(200), comment="NULL: nobody yet"),
    Column("decision", String(40), comment="NULL: open"),
    Column("decided_by", String(200), comment="NULL: open"),
    Column("note", _text, comment="NULL: none"),
    Column("decided_at", Instant, comment="NULL: open"),
    _one_of("reason", ReviewReason, "reason"),
    CheckConstraint("(decision IS NULL) = (decided_at IS NULL)", name="decided"),
    Index("ix_backout_review_run", "run_id"),
    Index(
        "ix_backout_review_open",
        "decision",
        "id",
        postgresql_where=text("decision IS NULL"),
        sqlite_where=text("decision IS NULL"),
    ),
    **STORED,
)

check_by_function(run, ("state", "rollback_outcome", "finished_at"))
check_by_function(
    step,
    ("state", "direction", "finished_at", "claim_expires_at", "claim_token", "next_retry_at", "sweep_at"),
)

# The values of external ids, whatever their names; other databases have no index for that.
Index(
    EXTERNAL_IDS_INDEX,
    func.jsonb_path_query_array(run.c.external_ids, text("'$.*'")).label("values"),
    postgresql_using="gin",
    postgresql_ops={"values": "jsonb_path_ops"},
    postgresql_where=text("external_ids <> '{}'::jsonb"),
).ddl_if(dialect="postgresql")

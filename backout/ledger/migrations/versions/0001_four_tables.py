"""The four tables.

Everything is written out here and nothing is imported from the models: a migration must do the same for ever.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql, postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_UUID = sa.Uuid(as_uuid=False).with_variant(sa.String(36), "sqlite", "mysql", "mariadb")
_SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_INSTANT = sa.DateTime(timezone=True).with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
_TEXT = sa.Text().with_variant(mysql.LONGTEXT(), "mysql", "mariadb")
_DOCUMENT = sa.JSON().with_variant(sa.Text(), "sqlite").with_variant(mysql.LONGTEXT(), "mysql", "mariadb")
_MAPPING = _DOCUMENT.with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    """Make the tables."""
    _make_run()
    _make_step()
    _make_entry()
    _make_review()


def _stored() -> dict[str, Any]:
    """Return how MySQL stores a table; columns added later inherit the collation.

    By what the server is and not by its name in the URL: MariaDB answers to "mysql" too, and has other collations.
    """
    dialect = op.get_bind().dialect
    if dialect.name not in ("mysql", "mariadb"):
        return {}
    collation = "utf8mb4_nopad_bin" if getattr(dialect, "is_mariadb", False) else "utf8mb4_0900_bin"
    options = {"engine": "InnoDB", "charset": "utf8mb4", "collate": collation}
    return {f"{dialect.name}_{option}": value for option, value in options.items()}


def _make_run() -> None:
    op.create_table(
        "backout_run",
        sa.Column("id", _UUID, nullable=False),
        sa.Column("pipeline", sa.String(length=200), nullable=False),
        sa.Column("definition_digest", sa.String(length=64), nullable=False),
        sa.Column("plan", _DOCUMENT, nullable=False, comment="steps and contracts as they were at enqueue"),
        sa.Column("source_event_id", sa.String(length=255), nullable=True, comment="NULL: enqueued without one"),
        sa.Column("subject_id", sa.String(length=255), nullable=True, comment="NULL: the pipeline names no subject"),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("round", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("operator_state", _TEXT, nullable=False),
        sa.Column("last_successful_step", sa.String(length=200), nullable=True, comment="NULL: none yet"),
        sa.Column("external_ids", _MAPPING, nullable=False),
        sa.Column(
            "attempt_count",
            sa.Integer(),
            server_default=sa.text("0"),
            nullable=False,
            comment="attempts with an outcome",
        ),
        sa.Column("next_retry_at", _INSTANT, nullable=True, comment="NULL: no retry is scheduled"),
        sa.Column("requires_human_review", sa.Boolean(), nullable=False),
        sa.Column("error_summary", _TEXT, nullable=True, comment="the forward error; NULL: none"),
        sa.Column("rollback_outcome", sa.String(length=20), nullable=False),
        sa.Column("input", _DOCUMENT, nullable=False),
        sa.Column("output", _DOCUMENT, nullable=True, comment="of the last step; NULL: not succeeded"),
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.Column("updated_at", _INSTANT, nullable=False),
        sa.Column("finished_at", _INSTANT, nullable=True, comment="NULL: not final"),
        sa.CheckConstraint(
            "(state IN ('cancelled', 'failed', 'rolled_back', 'succeeded')) = (finished_at IS NOT NULL)",
            name=op.f("ck_backout_run_final_is_finished"),
        ),
        sa.CheckConstraint(
            "rollback_outcome IN ('complete', 'failed', 'none', 'partial')",
            name=op.f("ck_backout_run_rollback_outcome"),
        ),
        sa.CheckConstraint(
            "state IN ('failed', 'in_review', 'parked', 'pending', "
            "'rolled_back', 'rolling_back', 'running', 'succeeded')",
            name=op.f("ck_backout_run_state"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_backout_run")),
        **_stored(),
    )
    op.create_index("ix_backout_run_state", "backout_run", ["state", "id"], unique=False)
    op.create_index("ix_backout_run_subject", "backout_run", ["subject_id"], unique=False)
    op.create_index("uq_backout_run_source_event", "backout_run", ["pipeline", "source_event_id"], unique=True)


def _make_step() -> None:
    op.create_table(
        "backout_step",
        sa.Column("run_id", _UUID, nullable=False),
        sa.Column("round", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("position", sa.Integer(), autoincrement=False, nullable=False, comment="index in the plan, from 0"),
        sa.Column("direction", sa.String(length=12), nullable=False),
        sa.Column("step", sa.String(length=200), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False, comment="attempts started so far"),
        sa.Column("lost_attempts", sa.Integer(), nullable=False, comment="attempts that ended without an answer"),
        sa.Column("start_order", sa.Integer(), nullable=False, comment="order of start in its direction, from 1"),
        sa.Column("idempotency_key", sa.String(length=500), nullable=False),
        sa.Column(
            "exclusive_key",
            sa.String(length=500),
            nullable=True,
            comment="set while a step with a key of its own runs or has succeeded",
        ),
        sa.Column(
            "claim_token",
            _UUID,
            nullable=True,
            comment="of the attempt that runs or wrote the outcome; NULL: none, or lost",
        ),
        sa.Column("claim_expires_at", _INSTANT, nullable=True, comment="NULL: not running"),
        sa.Column("task_id", _UUID, nullable=False, comment="of the Celery message"),
        sa.Column("output", _DOCUMENT, nullable=True, comment="NULL: none recorded"),
        sa.Column("external_ids", _MAPPING, nullable=False),
        sa.Column("error", _DOCUMENT, nullable=True, comment="of the last attempt that failed; NULL: none"),
        sa.Column("next_retry_at", _INSTANT, nullable=True, comment="NULL: no retry is scheduled"),
        sa.Column("sends", sa.Integer(), nullable=False, comment="messages sent for the attempt that is due"),
        sa.Column("sweep_at", _INSTANT, nullable=True, comment="when the sweeper looks at this row; NULL: never"),
        sa.Column("dispatched_at", _INSTANT, nullable=True, comment="when the last message was sent; NULL: not yet"),
        sa.Column("started_at", _INSTANT, nullable=True, comment="of the first attempt; NULL: never started"),
        sa.Column("finished_at", _INSTANT, nullable=True, comment="NULL: not finished"),
        sa.CheckConstraint(
            "(state = 'retry_scheduled') = (next_retry_at IS NOT NULL)", name=op.f("ck_backout_step_retry_has_time")
        ),
        sa.CheckConstraint(
            "(state IN ('failed', 'kept', 'skipped', 'succeeded', 'undone')) = (finished_at IS NOT NULL)",
            name=op.f("ck_backout_step_finished"),
        ),
        sa.CheckConstraint(
            "(state IN ('running')) = (claim_expires_at IS NOT NULL)", name=op.f("ck_backout_step_running_has_claim")
        ),
        sa.CheckConstraint("direction IN ('compensation', 'forward')", name=op.f("ck_backout_step_direction")),
        sa.CheckConstraint(
            "state <> 'kept' OR direction = 'compensation'", name=op.f("ck_backout_step_kept_is_compensation")
        ),
        sa.CheckConstraint(
            "state <> 'running' OR claim_token IS NOT NULL", name=op.f("ck_backout_step_running_has_token")
        ),
        sa.CheckConstraint(
            "state <> 'undone' OR direction = 'forward'", name=op.f("ck_backout_step_undone_is_forward")
        ),
        sa.CheckConstraint(
            "state IN ('failed', 'in_doubt', 'kept', 'pending', 'ready', "
            "'retry_scheduled', 'running', 'skipped', 'succeeded', 'undone')",
            name=op.f("ck_backout_step_state"),
        ),
        sa.PrimaryKeyConstraint("run_id", "round", "position", "direction", name=op.f("pk_backout_step")),
        **_stored(),
    )
    op.create_index(
        "ix_backout_step_sweep",
        "backout_step",
        ["sweep_at"],
        unique=False,
        postgresql_where=sa.text("sweep_at IS NOT NULL"),
        sqlite_where=sa.text("sweep_at IS NOT NULL"),
    )
    op.create_index("uq_backout_step_exclusive_key", "backout_step", ["exclusive_key"], unique=True)


def _make_entry() -> None:
    op.create_table(
        "backout_entry",
        sa.Column("id", _SERIAL, autoincrement=True, nullable=False),
        sa.Column("at", _INSTANT, nullable=False),
        sa.Column("run_id", _UUID, nullable=True, comment="NULL: a message that named no run"),
        sa.Column("round", sa.Integer(), nullable=True, comment="NULL: about no step"),
        sa.Column("position", sa.Integer(), nullable=True, comment="NULL: about no step"),
        sa.Column("step", sa.String(length=200), nullable=True, comment="NULL: about the run"),
        sa.Column("direction", sa.String(length=12), nullable=True, comment="NULL: about the run"),
        sa.Column("attempt", sa.Integer(), nullable=True, comment="NULL: about no attempt"),
        sa.Column("event", sa.String(length=40), nullable=False),
        sa.Column("actor", sa.String(length=200), nullable=False),
        sa.Column("reason", _TEXT, nullable=True, comment="NULL: the event says it all"),
        sa.Column("detail", _DOCUMENT, nullable=True, comment="NULL: none"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_backout_entry")),
        **_stored(),
    )
    op.create_index("ix_backout_entry_run", "backout_entry", ["run_id", "id"], unique=False)


def _make_review() -> None:
    op.create_table(
        "backout_review",
        sa.Column("id", _SERIAL, autoincrement=True, nullable=False),
        sa.Column("run_id", _UUID, nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=True, comment="NULL: about the run"),
        sa.Column("step", sa.String(length=200), nullable=True, comment="NULL: about the run"),
        sa.Column("direction", sa.String(length=12), nullable=True, comment="NULL: about the run"),
        sa.Column("reason", sa.String(length=40), nullable=False),
        sa.Column("evidence", _DOCUMENT, nullable=False),
        sa.Column("opened_at", _INSTANT, nullable=False),
        sa.Column("deadline_at", _INSTANT, nullable=True, comment="NULL: none"),
        sa.Column("assignee", sa.String(length=200), nullable=True, comment="NULL: nobody yet"),
        sa.Column("decision", sa.String(length=40), nullable=True, comment="NULL: open"),
        sa.Column("decided_by", sa.String(length=200), nullable=True, comment="NULL: open"),
        sa.Column("note", _TEXT, nullable=True, comment="NULL: none"),
        sa.Column("decided_at", _INSTANT, nullable=True, comment="NULL: open"),
        sa.CheckConstraint(
            "reason IN ('compensation_failed', 'confirmation_missing', 'credentials_failed', "
            "'definition_missing', 'irreversible_passed', 'may_have_duplicated', 'not_live_after_publish', "
            "'retries_exhausted_after_write', 'systems_disagree')",
            name=op.f("ck_backout_review_reason"),
        ),
        sa.CheckConstraint("(decision IS NULL) = (decided_at IS NULL)", name=op.f("ck_backout_review_decided")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_backout_review")),
        **_stored(),
    )
    op.create_index("ix_backout_review_run", "backout_review", ["run_id"], unique=False)

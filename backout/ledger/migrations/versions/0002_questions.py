"""Questions about steps, attempts that may still run, and deadlines of runs.

Everything is written out here and nothing is imported from the models: a migration must do the same for ever.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_INSTANT = sa.DateTime(timezone=True).with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")

_STATES = (
    "state IN ('failed', 'in_doubt', 'kept', 'pending', 'ready', "
    "'retry_scheduled', 'running', 'skipped', 'succeeded', 'undone')"
)
_STATES_WITH_WAITING = (
    "state IN ('failed', 'in_doubt', 'kept', 'pending', 'ready', "
    "'retry_scheduled', 'running', 'skipped', 'succeeded', 'undone', 'waiting')"
)


def upgrade() -> None:
    """Let step rows ask and wait, and let runs have a deadline."""
    op.add_column(
        "backout_run",
        sa.Column("deadline_at", _INSTANT, nullable=True, comment="a step that would start later fails; NULL: none"),
    )
    op.create_index(
        "ix_backout_run_deadline",
        "backout_run",
        ["deadline_at"],
        unique=False,
        postgresql_where=sa.text("deadline_at IS NOT NULL AND finished_at IS NULL"),
        sqlite_where=sa.text("deadline_at IS NOT NULL AND finished_at IS NULL"),
    )
    # SQLite cannot change a CHECK: there the table is made anew, with its rows, from what 0001 made it.
    with op.batch_alter_table("backout_step", copy_from=_step_of_0001()) as step:
        step.drop_constraint(op.f("ck_backout_step_state"), type_="check")
        step.drop_constraint(op.f("ck_backout_step_direction"), type_="check")
        step.add_column(
            sa.Column(
                "claimed_by",
                sa.String(length=200),
                nullable=True,
                comment="the process that holds or held the claim; NULL: none, or unknown",
            ),
        )
        step.add_column(
            sa.Column(
                "may_run_until",
                _INSTANT,
                nullable=True,
                comment="until then an attempt that was given up may still run; NULL: none",
            ),
        )
        step.create_check_constraint(op.f("ck_backout_step_state"), _STATES_WITH_WAITING)
        step.create_check_constraint(
            op.f("ck_backout_step_direction"),
            "direction IN ('compensation', 'forward', 'reconcile', 'verify')",
        )
        step.create_check_constraint(
            op.f("ck_backout_step_waiting_has_time"),
            "state <> 'waiting' OR sweep_at IS NOT NULL",
        )


def _step_of_0001() -> sa.Table:
    """Return the table as SQLite has it after 0001; SQLAlchemy reads no CHECKs from a database."""
    uuid, document, instant = sa.String(length=36), sa.Text(), sa.DateTime()
    return sa.Table(
        "backout_step",
        sa.MetaData(),
        sa.Column("run_id", uuid, nullable=False),
        sa.Column("round", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("position", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("direction", sa.String(length=12), nullable=False),
        sa.Column("step", sa.String(length=200), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("lost_attempts", sa.Integer(), nullable=False),
        sa.Column("start_order", sa.Integer(), nullable=False),
        sa.Column("idempotency_key", sa.String(length=500), nullable=False),
        sa.Column("exclusive_key", sa.String(length=500), nullable=True),
        sa.Column("claim_token", uuid, nullable=True),
        sa.Column("claim_expires_at", instant, nullable=True),
        sa.Column("task_id", uuid, nullable=False),
        sa.Column("output", document, nullable=True),
        sa.Column("external_ids", document, nullable=False),
        sa.Column("error", document, nullable=True),
        sa.Column("next_retry_at", instant, nullable=True),
        sa.Column("sends", sa.Integer(), nullable=False),
        sa.Column("sweep_at", instant, nullable=True),
        sa.Column("dispatched_at", instant, nullable=True),
        sa.Column("started_at", instant, nullable=True),
        sa.Column("finished_at", instant, nullable=True),
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
        sa.CheckConstraint(_STATES, name=op.f("ck_backout_step_state")),
        sa.PrimaryKeyConstraint("run_id", "round", "position", "direction", name=op.f("pk_backout_step")),
        sa.Index("ix_backout_step_sweep", "sweep_at", sqlite_where=sa.text("sweep_at IS NOT NULL")),
        sa.Index("uq_backout_step_exclusive_key", "exclusive_key", unique=True),
    )

"""Actions by hand: runs that a person has paused or cancelled, rollbacks to a step, retries that a person asked for.

Everything is written out here and nothing is imported from the models: a migration must do the same for ever.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_STATES = "state IN ('failed', 'in_review', 'parked', 'pending', 'rolled_back', 'rolling_back', 'running', 'succeeded')"
_STATES_BY_HAND = (
    "state IN ('cancelled', 'failed', 'in_review', 'parked', 'paused', 'pending', "
    "'rolled_back', 'rolling_back', 'running', 'succeeded')"
)


def upgrade() -> None:
    """Let runs be stopped by hand, and let rows be tried again."""
    # SQLite cannot change a CHECK: there the table is made anew, with its rows, from what 0002 made it.
    with op.batch_alter_table("backout_run", copy_from=_run_of_0002()) as run:
        run.drop_constraint(op.f("ck_backout_run_state"), type_="check")
        run.add_column(
            sa.Column(
                "rollback_to",
                sa.Integer(),
                nullable=True,
                comment="position of the last step that a rollback leaves; NULL: it undoes all",
            ),
        )
        run.create_check_constraint(op.f("ck_backout_run_state"), _STATES_BY_HAND)
    op.add_column(
        "backout_step",
        sa.Column(
            "forgiven_attempts",
            sa.Integer(),
            server_default=sa.text("0"),
            nullable=False,
            comment="failed attempts that do not count against the retries: a person asked for more",
        ),
    )


def _run_of_0002() -> sa.Table:
    """Return the table as SQLite has it after 0002; SQLAlchemy reads no CHECKs from a database."""
    uuid, document, instant = sa.String(length=36), sa.Text(), sa.DateTime()
    return sa.Table(
        "backout_run",
        sa.MetaData(),
        sa.Column("id", uuid, nullable=False),
        sa.Column("pipeline", sa.String(length=200), nullable=False),
        sa.Column("definition_digest", sa.String(length=64), nullable=False),
        sa.Column("plan", document, nullable=False),
        sa.Column("source_event_id", sa.String(length=255), nullable=True),
        sa.Column("subject_id", sa.String(length=255), nullable=True),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("round", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("operator_state", sa.Text(), nullable=False),
        sa.Column("last_successful_step", sa.String(length=200), nullable=True),
        sa.Column("external_ids", document, nullable=False),
        sa.Column("attempt_count", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("next_retry_at", instant, nullable=True),
        sa.Column("requires_human_review", sa.Boolean(), nullable=False),
        sa.Column("error_summary", sa.Text(), nullable=True),
        sa.Column("rollback_outcome", sa.String(length=20), nullable=False),
        sa.Column("input", document, nullable=False),
        sa.Column("output", document, nullable=True),
        sa.Column("created_at", instant, nullable=False),
        sa.Column("updated_at", instant, nullable=False),
        sa.Column("finished_at", instant, nullable=True),
        sa.Column("deadline_at", instant, nullable=True),
        sa.CheckConstraint(
            "(state IN ('cancelled', 'failed', 'rolled_back', 'succeeded')) = (finished_at IS NOT NULL)",
            name=op.f("ck_backout_run_final_is_finished"),
        ),
        sa.CheckConstraint(
            "rollback_outcome IN ('complete', 'failed', 'none', 'partial')",
            name=op.f("ck_backout_run_rollback_outcome"),
        ),
        sa.CheckConstraint(_STATES, name=op.f("ck_backout_run_state")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_backout_run")),
        sa.Index("ix_backout_run_state", "state", "id"),
        sa.Index("ix_backout_run_subject", "subject_id"),
        sa.Index(
            "ix_backout_run_deadline",
            "deadline_at",
            sqlite_where=sa.text("deadline_at IS NOT NULL AND finished_at IS NULL"),
        ),
        sa.Index("uq_backout_run_source_event", "pipeline", "source_event_id", unique=True),
    )

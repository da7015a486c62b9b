"""Indexes of the lists: by pipeline, by what people search for, and by what waits for a person.

Everything is written out here and nothing is imported from the models: a migration must do the same for ever.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Let a list of a million runs stay on an index, whatever it is narrowed by."""
    if op.get_bind().dialect.name == "postgresql":
        # At once all that is needed. Building an index keeps writers away and lets readers in, dropping one wants to be
        # alone: a transaction that has read a run and is about to write it would wait for us, and we for it.
        op.execute("LOCK TABLE backout_run, backout_review IN ACCESS EXCLUSIVE MODE")
    # Under a new name, and before the old one goes: at no moment may an event start two runs (R9).
    op.create_index("uq_backout_run_event", "backout_run", ["source_event_id", "pipeline"], unique=True)
    op.drop_index("uq_backout_run_source_event", "backout_run")
    op.create_index("ix_backout_run_pipeline", "backout_run", ["pipeline", "state", "id"])
    op.drop_index("ix_backout_run_subject", "backout_run")
    op.create_index("ix_backout_run_subject", "backout_run", ["subject_id", "id"])
    op.create_index(
        "ix_backout_run_person",
        "backout_run",
        ["requires_human_review", "id"],
        postgresql_where=sa.text("requires_human_review"),
        sqlite_where=sa.text("requires_human_review = 1"),
    )
    op.create_index(
        "ix_backout_review_open",
        "backout_review",
        ["decision", "id"],
        postgresql_where=sa.text("decision IS NULL"),
        sqlite_where=sa.text("decision IS NULL"),
    )
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            "CREATE INDEX ix_backout_run_external_ids ON backout_run "
            "USING gin (jsonb_path_query_array(external_ids, '$.*') jsonb_path_ops) "
            "WHERE external_ids <> '{}'::jsonb"
        )

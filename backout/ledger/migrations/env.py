"""Run migrations on the connection that `backout.ledger.schema` passes; it owns the transaction."""

from alembic import context

from backout.ledger.models import metadata
from backout.ledger.schema import VERSION_TABLE

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
    render_as_batch=True,
)
context.run_migrations()

"""The ledger's Alembic migrations. They expand in one release and contract in a later one."""

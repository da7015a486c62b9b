"""Celery pipelines with compensation chains: every step is in a SQL ledger before its message is acknowledged."""

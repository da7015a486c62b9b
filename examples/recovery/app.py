"""The Celery app of the examples. Broker, ledger and the providers' books are named by environment variables."""

import os

from celery import Celery

import backout

app = Celery(
    "recovery",
    broker=os.environ.get("RECOVERY_BROKER", "redis://localhost:6379/0"),
    include=[
        f"examples.recovery.{name}" for name in ("quotes", "leads", "invoices", "payouts", "bookings", "publishing")
    ],
)
app.conf.broker_connection_retry_on_startup = True
backout.install(app, database_url=os.environ.get("RECOVERY_LEDGER", "sqlite:///recovery-ledger.sqlite3"))

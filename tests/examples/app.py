"""The Celery app of the examples, as it is, with the tests' corner of the broker and their short times."""

from __future__ import annotations

import json
import os

import backout
from examples.recovery.app import app
from tests.support.apps import names
from tests.support.apps.making import SETTINGS, configure

# A worker whose test run was killed finds no broker any more, and ends.
app.conf.update(broker_connection_max_retries=3, worker_prefetch_multiplier=1)
configure(app, json.loads(os.environ[names.CELERY]))
backout.install(app, database_url=os.environ[names.LEDGER], **SETTINGS)

"""The Celery app of a worker from before a deploy: it knows none of the shop's tasks, and sweeps nothing."""

from __future__ import annotations

import os

import backout
from tests.support.apps.making import make_app

app = make_app("old_shop", os.environ)
backout.install(app, sweeper=False)

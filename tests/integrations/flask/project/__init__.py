"""A small shop in Flask, as anybody would have written it: a factory, Flask-SQLAlchemy, and one line of backout."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from flask import Flask

from tests.integrations.flask.project.database import backout, db
from tests.integrations.flask.project.views import views
from tests.support.apps import names
from tests.support.apps.making import SETTINGS


def create_app(environment: Mapping[str, str] = os.environ, **config: Any) -> Flask:
    app = Flask(__name__)
    app.config.update(
        SHOP_NAME="corner shop",
        SQLALCHEMY_DATABASE_URI=environment[names.LEDGER],
        CELERY={
            "broker_url": environment[names.BROKER],
            "broker_connection_retry_on_startup": True,
            "broker_connection_max_retries": 3,
            "worker_hijack_root_logger": True,
            **json.loads(environment[names.CELERY]),
        },
        BACKOUT=SETTINGS,
    )
    app.config.update(config)
    db.init_app(app)
    backout.init_app(app)
    app.register_blueprint(views)
    return app

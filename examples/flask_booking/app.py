"""The Flask app, made by a factory. `flask --app examples.flask_booking.app …` finds it."""

import os
from pathlib import Path

from flask import Flask

from backout.integrations.flask import Backout
from examples.flask_booking.models import db
from examples.flask_booking.staff import staff
from examples.flask_booking.staff_pages import pages
from examples.flask_booking.views import views

FOLDER = Path(__file__).parent
backout = Backout()


def create_app() -> Flask:
    # The files of the databases are in the instance folder.
    app = Flask(__name__, instance_path=os.environ.get("BOOKING_FOLDER", str(FOLDER / "instance")))
    app.config.from_mapping(
        SQLALCHEMY_DATABASE_URI="sqlite:///booking.sqlite3",
        CELERY={
            "broker_url": os.environ.get("CELERY_BROKER_URL", "redis://localhost"),
            "broker_connection_retry_on_startup": True,
        },
        SECRET_KEY=os.environ.get("BOOKING_SECRET_KEY", "only for trying out"),
        SESSION_COOKIE_SAMESITE="Lax",
    )
    db.init_app(app)
    backout.init_app(app)
    app.register_blueprint(views)
    app.register_blueprint(staff, url_prefix="/staff")
    app.register_blueprint(pages, url_prefix="/staff/runs")

    @app.cli.command("make-tables")
    def make_tables() -> None:
        """Make the tables of the bookings."""
        db.create_all()

    return app

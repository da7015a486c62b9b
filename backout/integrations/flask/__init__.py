"""backout in a Flask app: `Backout(app)`, or `Backout().init_app(app)` in a factory."""

from backout.integrations.flask.extension import Backout
from backout.integrations.flask.tables import without_ledger

__all__ = ["Backout", "without_ledger"]

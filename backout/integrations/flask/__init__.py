"""backout in a Flask app: `Backout(app)`, or `Backout().init_app(app)` in a factory."""

from backout.integrations.flask.extension import Backout
from backout.integrations.flask.pages import Authorize, backout_pages
from backout.integrations.flask.tables import without_ledger
from backout.web.host import Permission

__all__ = ["Authorize", "Backout", "Permission", "backout_pages", "without_ledger"]

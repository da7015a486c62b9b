"""What `celery -A` names: the module of Flask's Celery guide."""

from tests.integrations.flask.project import create_app

flask_app = create_app()
celery_app = flask_app.extensions["celery"]

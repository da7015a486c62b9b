"""What `celery -A` names: the module of Flask's Celery guide."""

from examples.flask_booking.app import create_app

flask_app = create_app()
celery_app = flask_app.extensions["celery"]

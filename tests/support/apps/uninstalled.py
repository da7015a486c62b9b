"""A Celery app with the settings of backout whose author forgot to install it: its worker knows no step."""

import os

from tests.support.apps.making import make_app

app = make_app("uninstalled", os.environ)

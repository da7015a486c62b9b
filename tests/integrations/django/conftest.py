"""Keeps Django out of the process of the other tests: what is in `inside` runs in processes of its own."""

import os

from tests.integrations.django import names

collect_ignore = [] if os.environ.get("DJANGO_SETTINGS_MODULE") == names.MODULE else ["inside"]

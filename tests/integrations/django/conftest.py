"""Keeps Django out of the process of the other tests: what is in `inside` runs in processes of its own."""

import os
from collections.abc import Iterator

import pytest

from tests.integrations.django import names

IS_INSIDE = os.environ.get("DJANGO_SETTINGS_MODULE") == names.MODULE
collect_ignore = [] if IS_INSIDE else ["inside"]


@pytest.fixture(autouse=True)
def without_django() -> Iterator[None]:
    """Every Celery app that is made after Django's settings are named becomes Django's, also those of other tests."""
    yield
    assert IS_INSIDE or "DJANGO_SETTINGS_MODULE" not in os.environ, "a test has imported the project"

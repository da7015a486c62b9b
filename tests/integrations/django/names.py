"""The environment variables by which a test tells its processes where everything is."""

SETTINGS = "BACKOUT_TEST_DJANGO_SETTINGS"
"""Settings of Django for this test, as JSON; `DATABASES` at least."""
MODULE = "tests.integrations.django.project.settings"
"""What DJANGO_SETTINGS_MODULE is in processes that are Django's."""
GATES = "BACKOUT_TEST_DJANGO_GATES"
"""A folder, in which a step stands at a gate and a test opens it."""

"""The pages of runs and reviews that come with backout, for whoever is logged in."""

from backout.integrations.flask import Permission, backout_pages
from examples.flask_booking.staff import require_login


def authorize(permission: Permission) -> str | None:
    """Let staff look and act; nobody undoes anything across a step that cannot be undone."""
    return require_login() if permission is not Permission.ACROSS_IRREVERSIBLE else None


pages = backout_pages(authorize)

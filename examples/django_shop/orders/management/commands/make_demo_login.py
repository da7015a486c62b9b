"""Make the login of the demo: a shop of one's own has other users."""

from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError


class Command(BaseCommand):
    """Make a superuser `demo` with the password `demo`, only where DJANGO_DEBUG is set."""

    help = __doc__

    def handle(self, *args: Any, **options: Any) -> None:
        if not settings.DEBUG:
            raise CommandError("A password that everybody knows is for DJANGO_DEBUG=1 only; use `createsuperuser`.")
        user, _ = get_user_model().objects.get_or_create(
            username="demo", defaults={"is_staff": True, "is_superuser": True}
        )
        user.set_password("demo")
        user.save()

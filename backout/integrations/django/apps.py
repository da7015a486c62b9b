"""What happens when Django starts: pipelines are found, and enqueue learns of Django's settings and transactions."""

from __future__ import annotations

from django.apps import AppConfig
from django.db.backends.signals import connection_created
from django.db.models.signals import post_migrate
from django.utils.module_loading import autodiscover_modules

from backout.integrations.django.checks import register_checks
from backout.integrations.django.configuration import settings_source
from backout.integrations.django.databases import remember_names
from backout.integrations.django.engine import find_engine, let_go_of_databases
from backout.integrations.django.tables import make_tables
from backout.integrations.django.transactions import DjangoTransactions
from backout.ledger.callers import add_transaction_source
from backout.pipelines.engine import prefer_engine_resolver
from backout.tasks.runtime import add_settings_source


class BackoutConfig(AppConfig):
    """backout in a Django project."""

    name = "backout.integrations.django"
    label = "backout"
    verbose_name = "Pipelines"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Connect backout with Django, and import `pipelines.py` of each app."""
        remember_names()
        add_settings_source(settings_source)
        add_transaction_source(DjangoTransactions())
        prefer_engine_resolver(find_engine)
        connection_created.connect(let_go_of_databases)
        register_checks()
        post_migrate.connect(make_tables, sender=self)
        autodiscover_modules("pipelines")

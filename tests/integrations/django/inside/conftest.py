"""Django with its test databases, set up once in this process."""

from __future__ import annotations

from collections.abc import Iterator

import django
import pymysql
import pytest
from django.core.management import call_command
from django.db import connections
from django.test.utils import setup_databases, setup_test_environment, teardown_databases, teardown_test_environment

# Stands in for mysqlclient, as it does for Django's users who have no compiler.
pymysql.install_as_MySQLdb()
django.setup()


@pytest.fixture(scope="session", autouse=True)
def databases() -> Iterator[None]:
    """The test databases, made as Django's test runner makes them."""
    setup_test_environment()
    made = setup_databases(verbosity=0, interactive=False)
    yield
    teardown_databases(made, verbosity=0)
    teardown_test_environment()


@pytest.fixture(autouse=True)
def emptied(databases: None) -> Iterator[None]:
    """Leave nothing for the next test, as Django's own test cases do."""
    yield
    for alias in connections:
        call_command("flush", interactive=False, verbosity=0, database=alias)

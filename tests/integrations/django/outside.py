"""Starts processes that are Django's: Django is set up once in a process, and these tests need it in several ways."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import make_url

from tests.integrations.django import names

ROOT = Path(__file__).parents[3]
SECONDS = 300


def database(url: str, **options: Any) -> dict[str, Any]:
    """Return an entry of DATABASES that leads where an SQLAlchemy URL does."""
    parts = make_url(url)
    kind = parts.get_backend_name()
    query = dict(parts.query)
    host = str(parts.host or query.get("host") or query.get("unix_socket") or "")
    return {
        "ENGINE": {
            "postgresql": "django.db.backends.postgresql",
            "sqlite": "django.db.backends.sqlite3",
            "mysql": "django.db.backends.mysql",
            "mariadb": "django.db.backends.mysql",
        }[kind],
        "NAME": str(parts.database),
        "USER": parts.username or "",
        "PASSWORD": parts.password or "",
        "HOST": host,
        "PORT": parts.port or "",
        "OPTIONS": ({"transaction_mode": "IMMEDIATE"} if kind == "sqlite" else {}) | options,
    }


def environment(**settings: Any) -> dict[str, str]:
    """Return the environment of a process of the project."""
    return {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "DJANGO_SETTINGS_MODULE": names.MODULE,
        names.SETTINGS: json.dumps(settings),
    }


def manage(*arguments: str, expect: int = 0, **settings: Any) -> str:
    """Run a command of `manage.py` and return what it wrote."""
    return python("-m", "tests.integrations.django.manage", *arguments, expect=expect, **settings)


def python(*arguments: str, expect: int = 0, environment_: Mapping[str, str] | None = None, **settings: Any) -> str:
    """Run Python in the project and return what it wrote."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**environment(**settings), **(environment_ or {})},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    written = done.stdout + done.stderr
    assert done.returncode == expect, f"exit code {done.returncode}\n{written}"
    return written

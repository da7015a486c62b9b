"""What the page for Django says is true: a project that follows it, and nothing else, has its first run."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from backout.testing.servers import Broker
from tests.support.corners import RedisCorner
from tests.support.waiting import wait_until
from tests.support.worker import Worker

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "howto" / "django.md").read_text()
SECONDS = 60.0

CELERY = """
import os
from celery import Celery
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
app = Celery("shop")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
"""
MODELS = """
from django.db import models
class Order(models.Model):
    item = models.CharField(max_length=40)
class Stock(models.Model):
    item = models.CharField(max_length=40)
    key = models.CharField(max_length=80)
"""
URLS = """
from orders import views
urlpatterns += [path("checkout/", views.checkout), path("checkout-async/", views.checkout_async)]
"""
BEFORE = """
INSTALLED_APPS += ["orders"]
MIDDLEWARE.remove("django.middleware.csrf.CsrfViewMiddleware")
"""
BUY = """
import django; django.setup()
from django.test import Client
print([Client(SERVER_NAME="localhost").post(url, {"item": "lamp"}).content.decode()
       for url in ("/checkout/", "/checkout-async/")])
"""


def run(folder: Path, *arguments: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def blocks() -> Iterator[tuple[str, str]]:
    """Yield file and content of each block that goes into a file, in the order of the page."""
    for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
        place, _, content = block.partition("\n")
        assert place.startswith("# "), f"a block does not say where it goes: {block[:60]}"
        yield place.removeprefix("# "), content


@pytest.fixture
def corner(broker: Broker) -> Iterator[RedisCorner]:
    corner = RedisCorner(broker, visibility_seconds=3600)
    yield corner
    corner.close()


@pytest.fixture
def project(tmp_path: Path, corner: RedisCorner) -> Path:
    """A project that was there before: Django's own, with an app, and Celery as its guide says."""
    run(tmp_path, "-m", "django", "startproject", "shop", ".")
    run(tmp_path, "manage.py", "startapp", "orders")
    (tmp_path / "shop" / "celery.py").write_text(CELERY)
    (tmp_path / "shop" / "__init__.py").write_text("from .celery import app as celery_app\n")
    (tmp_path / "orders" / "models.py").write_text(MODELS)
    (tmp_path / "orders" / "tests.py").unlink()
    add(tmp_path, "shop/urls.py", URLS)
    given = {
        "CELERY_BROKER_URL": corner.url,
        "CELERY_BROKER_TRANSPORT_OPTIONS": corner.settings["broker_transport_options"],
        # Says when the worker is ready.
        "CELERY_IMPORTS": ["tests.support.apps.making"],
    }
    add(tmp_path, "shop/settings.py", BEFORE + "".join(f"{name} = {value!r}\n" for name, value in given.items()))
    return tmp_path


def add(folder: Path, place: str, content: str) -> None:
    path = folder / place
    path.write_text(f"{path.read_text() if path.exists() else ''}{content}")


def manage(folder: Path, *arguments: str) -> str:
    return run(folder, "manage.py", *arguments)


def test_project_that_follows_the_page_has_its_first_run(project: Path) -> None:
    """Every block goes where it says; orders are placed and their runs end; the tests of the page pass."""
    for place, content in blocks():
        add(project, place, content)
    manage(project, "makemigrations", "orders")
    typed = [
        line.removeprefix("$ ")
        for block in re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL)
        for line in block.splitlines()
    ]
    assert typed[0].startswith("pip install")
    manage(project, *typed[1].split()[2:])
    assert "no issues" in manage(project, "check", "--database", "default")
    run(project, "-W", "error", "-c", BUY, DJANGO_SETTINGS_MODULE="shop.settings")
    environment = {"PYTHONPATH": f"{ROOT}{os.pathsep}{project}", "DJANGO_SETTINGS_MODULE": "shop.settings"}
    worker = Worker("shop", "--concurrency", "1", environment=environment, log=project / "worker.log")
    try:
        worker.wait_until_ready()
        wait_until(lambda: states(project) == ["succeeded"] * 2, SECONDS, f"both orders are fulfilled\n{worker.log}")
    finally:
        worker.kill()
    assert "fulfil_order" in manage(project, *typed[2].split()[2:])
    manage(project, "test", "--settings", "shop.settings")
    manage(project, "makemigrations", "--check", "--dry-run")


def states(project: Path) -> list[str]:
    return [found["state"] for found in json.loads(manage(project, "backout", "runs", "list", "--json"))["runs"]]


def test_page_names_what_there_is() -> None:
    """Permissions, settings and ids of checks are spelt as the code spells them."""
    source = "".join(path.read_text() for path in (ROOT / "backout" / "integrations" / "django").rglob("*.py"))
    for name in re.findall(r"`backout\.([a-z_]+)`", PAGE):
        assert name in source or name == "integrations", name
    for name in re.findall(r"backout\.W\d+", PAGE):
        assert name in source

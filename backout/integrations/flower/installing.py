"""Puts the tab into Flower before it starts: its list of pages, its navigation, its options. Nothing is replaced."""

from __future__ import annotations

import logging
import sys
from typing import Any, Final

import flower
import flower.urls
from celery import Celery, signals
from tornado.ioloop import IOLoop
from tornado.options import options

from backout.app import install as install_backout
from backout.errors import ConfigurationError
from backout.integrations.flower.api import API
from backout.integrations.flower.choices import Choices, apply_command_line, define_options
from backout.integrations.flower.files import NAME, FilesModule
from backout.integrations.flower.frame import fits_flower, read_frame
from backout.integrations.flower.handlers import PAGES
from backout.integrations.flower.metrics import start_metrics
from backout.integrations.flower.navigation import USE_OF_NAVIGATION, LinkTransform, NavigationModule, add_modules
from backout.tasks.runtime import runtime_of

# Flower shows what its own loggers say; by this name it also shows where the tab is.
logger: Final = logging.getLogger("flower.backout")

OLDEST: Final = (2, 0)


def install() -> None:
    """Put the tab into the Flower of this process; a second call changes nothing.

    Call it before Flower's application is made: from `flowerconfig.py`, or not at all where Flower is started by
    `celery … flower` or `celery … backout flower`, which call it.

    Raises:
        ConfigurationError: this release of Flower is older than 2.0.
    """
    if any(getattr(one, "name", None) == PAGES[0].name for one in flower.urls.handlers):
        return
    _require_flower()
    define_options()
    # In front: the last one answers everything that is not found.
    flower.urls.handlers[:0] = [*PAGES, *API]
    settings = flower.urls.settings
    settings["ui_modules"] = add_modules(settings.get("ui_modules"), {"Template": NavigationModule, NAME: FilesModule})
    if USE_OF_NAVIGATION not in read_frame(settings["template_path"]):
        settings["transforms"] = [*settings.get("transforms", []), LinkTransform]
    signals.import_modules.connect(_begin, weak=False)


def _require_flower() -> None:
    version = tuple(int(part) for part in flower.__version__.split(".")[:2] if part.isdigit())
    if version < OLDEST:
        raise ConfigurationError(
            problem=f"the Runs tab needs Flower 2.0 or newer, and this is {flower.__version__}",
            remedy='Upgrade it: pip install --upgrade "backout[flower]".',
        )


def _begin(sender: Any = None, **_: Any) -> None:
    """Wait for Flower's loop; Celery sends this before frameworks are set up and tasks are imported."""
    if sender is not None:
        IOLoop.current().add_callback(_start, sender)


def _start(app: Celery) -> None:
    """Say where the tab is, and who may act in it."""
    apply_command_line(sys.argv[1:])
    choices = Choices.of(options)
    LinkTransform.prefix = options.url_prefix or ""
    for name in choices.unusable:
        logger.warning("Runs tab: %s: there is no such option, or its value cannot be used; nobody may act", name)
    try:
        if choices.database_url:
            install_backout(app, database_url=choices.database_url)
        ledger = runtime_of(app).unverified_ledger.shown_url
        start_metrics(app, every_seconds=choices.metrics_seconds)
    except ConfigurationError as error:
        logger.warning("Runs tab: on %s, but it cannot show any: %s", _place(), error)
        return
    frame = "" if fits_flower(flower.urls.settings["template_path"]) else ", in a plain frame"
    logger.info("Runs tab: on %s (Flower %s%s, ledger %s)", _place(), flower.__version__, frame, ledger)
    logger.info("Runs tab: may act: %s", choices.say_who_acts())


def _place() -> str:
    prefix = (options.url_prefix or "").strip("/")
    return f"/{prefix}/runs" if prefix else "/runs"

"""The browser of the tests: a Chromium of this machine, driven by Playwright, which brings none of its own."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect, sync_playwright

from tests.support.waiting import PATIENCE

PROGRAM_VARIABLE: Final = "BACKOUT_TEST_BROWSER"
"""Names the program where it is not on the PATH."""
PROGRAMS: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PICTURES_VARIABLE: Final = "BACKOUT_PICTURES"
"""Set to make the pictures of the documentation anew."""
PICTURES: Final = Path(__file__).parents[2] / "docs" / "pictures"
NO_BROWSER: Final = (
    f"no Chromium on this machine: install one (Debian: apt install chromium), or name it in {PROGRAM_VARIABLE}"
)
ACTION_SECONDS: Final = 10.0 * PATIENCE


def find_browser() -> str | None:
    """Return the program that tests will start; `None` where there is none."""
    named = os.environ.get(PROGRAM_VARIABLE)
    return named or next((found for name in PROGRAMS if (found := shutil.which(name))), None)


@contextmanager
def open_browser() -> Iterator[Browser]:
    """Start a browser that ends with the block; without one skip the test at home, and fail it in CI."""
    program = find_browser()
    if program is None:
        if os.environ.get("CI"):
            pytest.fail(NO_BROWSER, pytrace=False)
        pytest.skip(NO_BROWSER)
    expect.set_options(timeout=ACTION_SECONDS * 1000)
    # --no-sandbox: it refuses to run as root otherwise, and all that it opens is our own.
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def open_context(
    browser: Browser,
    base_url: str,
    *,
    width: int = 1100,
    height: int = 900,
    is_dark: bool = False,
    user: str = "",
    has_scripts: bool = True,
) -> Iterator[BrowserContext]:
    """Open a browser of a person's own: its own cookies, and paths that begin at `base_url`.

    Args:
        browser: the program.
        base_url: of the site.
        width: of what is seen, in pixels.
        height: likewise.
        is_dark: the reader's system prefers dark pages.
        user: `name:password`, which it gives a site that asks (HTTP basic authentication).
        has_scripts: pages may run theirs.
    """
    name, _, password = user.partition(":")
    context = browser.new_context(
        http_credentials={"username": name, "password": password} if user else None,
        java_script_enabled=has_scripts,
        base_url=base_url,
        viewport={"width": width, "height": height},
        color_scheme="dark" if is_dark else "light",
        locale="en-GB",
        timezone_id="UTC",
    )
    context.set_default_timeout(ACTION_SECONDS * 1000)
    try:
        yield context
    finally:
        context.close()


def take_picture(shown: Page | Locator, name: str, *, is_whole: bool = True) -> None:
    """Make a picture of a page or of a part of it for the documentation, if that is asked for.

    Args:
        shown: what is on it.
        name: of the file, `docs/pictures/<name>.png`.
        is_whole: also what of a page does not fit into its window.
    """
    if not os.environ.get(PICTURES_VARIABLE):
        return
    path = PICTURES / f"{name}.png"
    if isinstance(shown, Locator):
        shown.screenshot(path=path, animations="disabled")
    else:
        shown.screenshot(path=path, full_page=is_whole, animations="disabled")

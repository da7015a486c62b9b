"""The live picture of one run: redrawn on a terminal, a line for each new entry in a pipe."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC
from types import TracebackType
from typing import Final, Self

from rich.console import Console
from rich.live import Live
from rich.text import Text

from backout.cli.render.entries import write_entry
from backout.cli.render.page import draw_progress
from backout.identifiers import RunId
from backout.ledger.session import Ledger
from backout.views.clock import Clock
from backout.views.picture import RunPicture, read_picture

LOOK_SECONDS: Final = 0.1
PATIENCE_SECONDS: Final = 45.0


class StoryFailed(Exception):
    """Something that the story tells did not happen."""


class Watch:
    """Looks at a run in the ledger until something is so.

    Args:
        heed: called after each look; raises when waiting has become useless.
    """

    def __init__(self, console: Console, ledger: Ledger, run_id: RunId, *, heed: Callable[[], None]) -> None:
        self.console = console
        self._ledger = ledger
        self._run_id = run_id
        self._heed = heed
        self._seen: set[int] = set()
        self._live = Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def look(self) -> RunPicture:
        """Read the run, show it, and return it."""
        picture = read_picture(self._ledger, self._run_id)
        if self._live is not None:
            self._live.update(draw_progress(picture, Clock(now=picture.now, zone=None)), refresh=True)
            return picture
        for entry in picture.entries:
            if entry.id not in self._seen:
                self._seen.add(entry.id)
                self.console.print(Text(f"  {write_entry(entry, Clock(now=picture.now, zone=UTC))}"), soft_wrap=True)
        return picture

    def until(self, is_so: Callable[[RunPicture], bool], *, what: str) -> RunPicture:
        """Look until something is so, and return the run as it then is.

        Raises:
            StoryFailed: it was awaited in vain.
        """
        ends_at = time.monotonic() + PATIENCE_SECONDS
        while True:
            picture = self.look()
            if is_so(picture):
                return picture
            if picture.run.state.is_settled:
                raise StoryFailed(f"the run ended as {picture.run.state.value}, and not: {what}")
            self._heed()
            if time.monotonic() > ends_at:
                state = picture.run.state.value
                raise StoryFailed(f"the run is {state} after {PATIENCE_SECONDS:g} s, and still not: {what}")
            time.sleep(LOOK_SECONDS)

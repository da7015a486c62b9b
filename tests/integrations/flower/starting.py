"""Starting Flowers, and what their forms ask for."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from tests.support.flowers import Client, Flower, run_flower
from tests.support.forms import Form, Reader
from tests.support.stack import SHOP, Stack

ALICE: Final = "alice:right"
BOB: Final = "bob:right"
LOGIN: Final = f"--basic_auth={ALICE},{BOB}"
"""Given twice, only the last one would count."""


class Start:
    """Starts Flowers for an app; those with the same options are the same."""

    def __init__(self, stack: Stack, flowers: ExitStack) -> None:
        self._stack = stack
        self._flowers = flowers
        self._started: dict[object, Flower] = {}

    def __call__(
        self,
        *options: str,
        environment: Mapping[str, str] | None = None,
        packages: Path | None = None,
        command: tuple[str, ...] = ("flower",),
    ) -> Flower:
        """Start a Flower."""
        key = (options, tuple((environment or {}).items()), packages, command)
        if key not in self._started:
            running = run_flower(
                *options,
                app=SHOP,
                environment={**self._stack.environment, **(environment or {})},
                folder=self._stack.folder,
                packages=packages,
                command=command,
            )
            self._started[key] = self._flowers.enter_context(running)
        return self._started[key]


def open_form(client: Client, run_id: str, verb: str) -> Form:
    """Return the form that would do this to a run, filled in."""
    answer = client.get(f"/runs/{run_id}/act?verb={verb}")
    assert answer.status == 200, answer.text
    form = next(form for form in Reader(answer.text).forms if form.method == "post")
    form.fields["reason"] = "the bank says so"
    return form

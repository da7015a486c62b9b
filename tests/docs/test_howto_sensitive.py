"""The page about sensitive data: its example runs, and is shown as the page says."""

from __future__ import annotations

import json
import re
import sys
import types
from pathlib import Path

import pytest

from backout.pipelines.contract import Plan
from backout.testing import Scratch
from backout.views.picture import read_picture
from backout.views.shapes import shape_picture

PAGE = (Path(__file__).parents[2] / "docs" / "howto" / "sensitive-data.md").read_text()
INPUT = {"id": "o-1", "card_number": "4111 1111", "customer": {"name": "Ada", "iban": "DE89 3704"}}


def test_the_example_shows_nothing_that_is_sensitive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader who copies it finds `[masked]` where the page says so, and everything else as it is."""
    [code] = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    module = types.ModuleType("shop.payments")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(code, "sensitive-data.md", "exec"), module.__dict__)  # the point of the test
    with Scratch(tmp_path) as scratch:
        handle = scratch.run(module.pay, INPUT)
        shown = json.dumps(shape_picture(read_picture(scratch.runtime.ledger, handle.id), with_entries=True))
        assert handle.status().input == INPUT
    assert '"card_number": "[masked]"' in shown
    assert "no paper for card [masked]" in shown
    assert "amount_cents=4200 token='[masked]'" in shown
    assert '"name": "Ada"' in shown
    assert not [one for one in ("4111", "DE89", "tok_4711", "auth-") if one in shown]
    assert isinstance(module.pay.plan, Plan)

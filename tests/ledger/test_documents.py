"""JSON comes back from every database as it went in."""

from __future__ import annotations

from typing import Any

import pytest

from backout.ledger.session import Ledger
from tests.support.ledgers import read_run, read_step, start_run, succeed

DOCUMENTS: dict[str, Any] = {
    "a number beyond 64 bits": 2**70,
    "a number that looks like text": "12345678901234567890",
    "a float": 0.1 + 0.2,
    "nothing": None,
    "a word": "null",
    "text of many kinds": "åß∂ƒ 🙂 \u0000 \"'\\",
    "a deep mapping": {"a": [{"b": {"c": [1, 2.5, None, True]}}], "": "empty key"},
}


@pytest.mark.parametrize("document", DOCUMENTS.values(), ids=DOCUMENTS.keys())
def test_an_output_is_stored_as_it_is(ledger: Ledger, document: Any) -> None:
    """R14: what a step returned is what later steps and people read, on every database."""
    claimed = start_run(ledger)
    assert succeed(ledger, claimed, output=document)
    stored = read_step(ledger, claimed.key).output
    assert (stored, type(stored)) == (document, type(document))
    assert read_run(ledger, claimed.key.run_id).output == document

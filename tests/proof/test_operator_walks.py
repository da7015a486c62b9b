"""A person acts at random moments of runs in which everything goes wrong: nothing is done twice, and every run ends."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.proof.operator_walks import walk


@pytest.mark.parametrize("seed", range(12))
def test_run_under_a_persons_hands_comes_to_a_true_end(seed: int, tmp_path: Path) -> None:
    """What the ledger says in the end is what the bank's books say, whatever was asked for on the way."""
    made = walk(tmp_path, seed)
    assert made.story

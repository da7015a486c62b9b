"""One rehearsal of the whole shop, which many tests look at."""

from __future__ import annotations

import pytest

from backout.testing import Rehearsal, make_stand_ins, rehearse
from tests.rehearsal import shop


@pytest.fixture(scope="session")
def rehearsal() -> Rehearsal:
    return rehearse(shop.SHOP, shop.ORDER, stand_ins=make_stand_ins(shop.SHOP))

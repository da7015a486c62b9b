"""Enqueue the runs of a soak, from the first on: killed and started again it asks for the same source events (R9)."""

from __future__ import annotations

import random
import sys
import time
from typing import Final

from sqlalchemy.exc import DBAPIError

from backout.errors import LedgerUnavailable
from tests.proof.shop import Order, soak

FATES: Final = ("ok", "ok", "ok", "ok", "flaky", "refused", "broken")
AGAIN_SECONDS: Final = 0.2


def fate_of(number: int) -> str:
    """Return what is to go wrong by itself with an order; the same each time."""
    return random.Random(number).choice(FATES)


def main(runs: int, seconds: float) -> None:
    """Enqueue all runs, spread over the time in which things are killed."""
    started = time.monotonic()
    for number in range(runs):
        pause = started + seconds * number / runs - time.monotonic()
        if pause > 0:
            time.sleep(pause)
        enqueue(number)


def enqueue(number: int) -> None:
    """Ask for one run until the ledger has it, as a careful caller would."""
    while True:
        try:
            soak.enqueue(Order(number=number, fate=fate_of(number)), source_event_id=f"order-{number}")
        except (DBAPIError, LedgerUnavailable):
            time.sleep(AGAIN_SECONDS)
        else:
            return


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))

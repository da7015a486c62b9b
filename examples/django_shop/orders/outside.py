"""The outside world: a bank and a courier, each with an API that knows idempotency keys.

A real one keeps what it was asked for. These answer from the key alone, so that there is nothing to set up.
"""

import hashlib


class Declined(Exception):
    """The answer is no, and will not change."""


class Closed(Exception):
    """The partner does not work at the moment."""


def charge(amount_cents: int, *, key: str) -> str:
    """Take money; the same key again gives the same charge."""
    return _reference("CH", key)


def refund(*, key: str, is_closed: bool) -> None:
    """Pay back what was charged under a key, if anything was."""
    if is_closed:
        raise Closed(f"the bank does not pay {_reference('CH', key)} back today")


def book_courier(*, refuses: bool, key: str) -> str:
    """Have a parcel fetched."""
    if refuses:
        raise Declined("no courier goes there")
    return _reference("CO", key)


def cancel_courier(booking_id: str) -> None:
    """Let the parcel be."""


def _reference(prefix: str, key: str) -> str:
    return f"{prefix}-{hashlib.sha256(key.encode()).hexdigest()[:8].upper()}"

"""Ids, each with its own type, and how they are made."""

from __future__ import annotations

import os
import time
import uuid
from datetime import UTC, datetime
from typing import NewType

RunId = NewType("RunId", str)
"""A run: UUIDv7 in canonical text form, so that ids sort by the time of enqueue."""

TaskId = NewType("TaskId", str)
"""A Celery message of a step. The first step's message has the id of its run, so that Flower's tree has one root."""

ClaimToken = NewType("ClaimToken", str)
"""One attempt's right to write the outcome of its step (a fencing token)."""


def new_run_id() -> RunId:
    """Return a new UUIDv7 (RFC 9562, section 5.7): 48 bits of milliseconds, 74 random bits.

    The clock only orders ids for people and indexes; nothing decides by it.
    """
    milliseconds = time.time_ns() // 1_000_000
    value = int.from_bytes(os.urandom(10), "big")
    value |= (milliseconds & 0xFFFF_FFFF_FFFF) << 80
    value = (value & ~(0xF << 76)) | (0x7 << 76)
    value = (value & ~(0x3 << 62)) | (0x2 << 62)
    return RunId(str(uuid.UUID(int=value)))


def first_run_id_at(instant: datetime) -> RunId:
    """Return the least id that a run enqueued at an aware instant may have: ids from there on are as young or younger.

    As exact as the clocks of those who enqueue.
    """
    milliseconds = max(int(instant.timestamp() * 1000), 0)
    return RunId(str(uuid.UUID(int=(milliseconds & 0xFFFF_FFFF_FFFF) << 80)))


def enqueued_at(run_id: RunId) -> datetime:
    """Return when a run was enqueued, aware UTC, in milliseconds: as exact as the clock of whoever did."""
    return datetime.fromtimestamp((uuid.UUID(run_id).int >> 80) / 1000, UTC)


def run_ids_from(prefix: str) -> tuple[RunId, RunId] | None:
    """Return the first and the last id that start with a prefix, both included; `None` when no id does.

    A range of ids instead of a comparison of text: it uses the primary key.
    """
    digits = prefix.lower().replace("-", "")
    if not digits or len(digits) > 32 or not set(digits) <= set("0123456789abcdef"):
        return None
    first, last = (str(uuid.UUID(digits.ljust(32, fill))) for fill in "0f")
    return RunId(first), RunId(last)


def new_task_id() -> TaskId:
    """Return a new random task id."""
    return TaskId(_random_uuid())


def new_claim_token() -> ClaimToken:
    """Return a new random claim token."""
    return ClaimToken(_random_uuid())


def _random_uuid() -> str:
    """Return a new UUIDv4 (RFC 9562, section 5.4) in canonical text form: a third of what `str(uuid.uuid4())` takes."""
    digits = os.urandom(16).hex()
    variant = "89ab"[int(digits[16], 16) & 0x3]
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"

"""Ids: unique, of their own kind, and in the order of enqueue."""

from __future__ import annotations

import time
import uuid

from backout.identifiers import new_claim_token, new_run_id, new_task_id

MANY = 10_000


def test_a_run_id_is_a_uuid_of_version_7() -> None:
    """RFC 9562, section 5.7: version 7, variant 10, canonical text."""
    run_id = new_run_id()
    parsed = uuid.UUID(run_id)
    assert (parsed.version, parsed.variant, str(parsed)) == (7, uuid.RFC_4122, run_id)


def test_a_run_id_holds_the_time_in_milliseconds() -> None:
    """Its first 48 bits are the moment of enqueue, for people and indexes."""
    before = time.time_ns() // 1_000_000
    milliseconds = uuid.UUID(new_run_id()).int >> 80
    assert before <= milliseconds <= time.time_ns() // 1_000_000


def test_run_ids_of_different_milliseconds_sort_by_time() -> None:
    """Sorting ids as text is sorting runs by enqueue."""
    made = [new_run_id() for _ in range(MANY)]
    moments = [uuid.UUID(run_id).int >> 80 for run_id in made]
    assert moments == sorted(moments)
    assert [run_id[:13] for run_id in made] == sorted(run_id[:13] for run_id in made)


def test_run_ids_of_one_millisecond_differ() -> None:
    """74 random bits: two processes that enqueue at the same instant do not meet."""
    made = [new_run_id() for _ in range(MANY)]
    assert len(set(made)) == MANY


def test_every_random_bit_of_a_run_id_is_used() -> None:
    """No bit outside version and variant is constant, so that nothing of the 74 is lost."""
    values = [uuid.UUID(new_run_id()).int for _ in range(500)]
    always_set, ever_set = values[0], values[0]
    for value in values:
        always_set &= value
        ever_set |= value
    fixed = (0xF << 76) | (0x3 << 62)
    random_bits = ((1 << 80) - 1) & ~fixed
    assert always_set & random_bits == 0
    assert ever_set & random_bits == random_bits


def test_task_ids_and_tokens_are_random_uuids() -> None:
    """Nothing can be guessed from one about the next."""
    made = [new_task_id(), new_task_id(), new_claim_token(), new_claim_token()]
    assert {uuid.UUID(value).version for value in made} == {4}
    assert len(set(made)) == len(made)

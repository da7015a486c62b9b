"""What a worker's main process writes on its board, its children read."""

from __future__ import annotations

import os

import pytest

from backout.tasks.noticeboard import Noticeboard

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")


def in_child(board: Noticeboard, question: str) -> bool:
    """Return what a forked child reads, which was forked before anything was written."""
    reading, writing = os.pipe()
    asking, starting = os.pipe()
    if (child := os.fork()) == 0:
        os.read(asking, 1)
        os.write(writing, b"1" if eval(question, {"board": board}) else b"0")
        os._exit(0)
    board.say_stopping()
    board.say_events(are_sent=True)
    board.say_limited("shop.charge", is_limited=True)
    os.write(starting, b"x")
    answer = os.read(reading, 1)
    os.waitpid(child, 0)
    for descriptor in (reading, writing, asking, starting):
        os.close(descriptor)
    return answer == b"1"


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("board.is_open", False),
        ("board.sends_events", True),
        ("board.is_limited('shop.charge')", True),
        ("board.is_limited('shop.refund')", False),
        ("board.has_soft_limit", True),
        ("board.is_read_by_child", True),
    ],
)
def test_child_reads_what_was_written_after_the_fork(question: str, answer: bool) -> None:
    """That is what it is for: Celery tells its children nothing."""
    board = Noticeboard()
    board.open(has_soft_limit=True)
    assert in_child(board, question) is answer


def test_board_that_nobody_keeps_is_closed() -> None:
    """Outside of a worker nobody goes on by himself."""
    board = Noticeboard()
    assert not board.is_open
    assert not board.is_read_by_child


def test_opened_board_is_open_until_its_worker_stops() -> None:
    """A limit that is taken away is taken away; a new worker in the same process begins anew."""
    board = Noticeboard()
    board.open(has_soft_limit=False)
    assert board.is_open
    assert not board.has_soft_limit
    board.say_limited("shop.charge", is_limited=True)
    board.say_limited("shop.charge", is_limited=False)
    assert not board.is_limited("shop.charge")
    board.say_stopping()
    assert not board.is_open
    board.open(has_soft_limit=False)
    assert board.is_open
    board.close()
    assert not board.is_open

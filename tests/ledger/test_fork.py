"""A forked process shares nothing with its parent's connections."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from sqlalchemy import Float, literal, select

from backout.identifiers import RunId
from backout.ledger.session import Ledger
from backout.states import RunState, StepState
from tests.support.ledgers import create_run, key_of, read_run, read_step, start_run, succeed, try_claim
from tests.support.threads import run_together

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")

CHILDREN = 4
QUERIES_EACH = 10
CHILD_TIMEOUT_SECONDS = 40


class Child:
    """A forked child that begins when it is told to, and says what its work returned."""

    def __init__(self, work: Callable[[], Any]) -> None:
        begin_read, self._begin = os.pipe()
        self._answer, answer_write = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            self._run(work, begin_read, answer_write)
        os.close(begin_read)
        os.close(answer_write)

    def begin(self) -> None:
        """Let the child start its work."""
        os.write(self._begin, b".")
        os.close(self._begin)

    def answer(self) -> Any:
        """Wait for the end of the child and return what its work returned."""
        with os.fdopen(self._answer) as pipe:
            text = pipe.read()
        os.waitpid(self.pid, 0)
        assert text, f"the child did not answer within {CHILD_TIMEOUT_SECONDS} seconds"
        return json.loads(text)

    def _run(self, work: Callable[[], Any], begin_read: int, answer_write: int) -> None:
        # Never returns: the child must not go on with the parent's tests. The alarm ends it if it hangs.
        signal.alarm(CHILD_TIMEOUT_SECONDS)
        try:
            os.read(begin_read, 1)
            answer = work()
        except BaseException as error:
            answer = repr(error)
        os.write(answer_write, json.dumps(answer).encode())
        sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - until the end of the process
        os._exit(0)


def together(ledger: Ledger, work: Callable[[int], Any]) -> list[Any]:
    """Use the ledger, fork, let all children work at once, and return their answers."""
    run_together([lambda: ask(ledger, 0)] * 3)  # So that there are connections to inherit.
    children = [Child(partial(work, number)) for number in range(CHILDREN)]
    for child in children:
        child.begin()
    return [child.answer() for child in children]


def ask(ledger: Ledger, number: float) -> float:
    """Let the database answer with the number it was given."""
    answer = ledger.read(lambda connection: connection.execute(select(literal(number, Float))).scalar_one())
    return float(answer)


def test_children_get_their_own_answers(own_ledger: Ledger) -> None:
    """With shared connections, 14 of 40 answers were those of a sibling."""

    def work(number: int) -> list[bool]:
        return [ask(own_ledger, number * 100 + turn) == number * 100 + turn for turn in range(QUERIES_EACH)]

    answers = together(own_ledger, work)
    assert answers == [[True] * QUERIES_EACH] * CHILDREN


def test_the_parent_goes_on_with_its_connections(own_ledger: Ledger) -> None:
    """A child that ends closes nothing that the parent uses."""
    run_id = create_run(own_ledger)
    together(own_ledger, lambda number: read_run(own_ledger, run_id).id == run_id and number)
    assert [ask(own_ledger, turn) for turn in range(QUERIES_EACH)] == list(range(QUERIES_EACH))


def test_children_record_what_they_do(own_ledger: Ledger) -> None:
    """Worker children that take steps of many runs at once record all of them."""
    run_ids = [create_run(own_ledger) for _ in range(CHILDREN * 5)]

    def work(number: int) -> bool:
        return all(run_whole(own_ledger, run_id) for run_id in run_ids[number::CHILDREN])

    assert together(own_ledger, work) == [True] * CHILDREN
    assert {read_run(own_ledger, run_id).state for run_id in run_ids} == {RunState.SUCCEEDED}


def run_whole(ledger: Ledger, run_id: RunId) -> bool:
    claimed = try_claim(ledger, key_of(run_id))
    return claimed is not None and succeed(ledger, claimed, output=1)


def test_of_several_children_one_gets_the_claim(own_ledger: Ledger) -> None:
    """R3: also between processes that were forked from one another."""
    key = key_of(create_run(own_ledger))
    answers = together(own_ledger, lambda _: try_claim(own_ledger, key) is not None)
    assert sorted(answers) == [False, False, False, True]
    assert read_step(own_ledger, key).attempt == 1


def test_a_transaction_of_the_parent_is_not_ended_by_a_child(own_ledger: Ledger) -> None:
    """A worker's parent that forks in the middle of a transaction can still commit it."""
    claimed = start_run(own_ledger)
    with own_ledger.transaction() as connection:
        child = Child(lambda: "nothing")
        child.begin()
        assert child.answer() == "nothing"
        assert ask_on(connection) == 1
    assert read_step(own_ledger, claimed.key).state is StepState.RUNNING


def ask_on(connection: Any) -> int:
    found: int = connection.execute(select(literal(1))).scalar_one()
    return found

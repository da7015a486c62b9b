"""What a compensation's message says of those that come after it: a hint, whatever stands there."""

from __future__ import annotations

from typing import Any

import pytest
from celery import Celery

from backout.compensations.chain import send_chain
from backout.identifiers import TaskId, new_run_id
from backout.ledger.records import Link, StepKey
from backout.pipelines.message import StepMessage
from backout.states import Direction
from backout.tasks.attempt import NOTHING_AHEAD
from backout.tasks.receiving import read_chain

RUN_ID = new_run_id()


def message(position: int) -> StepMessage:
    return StepMessage(
        key=StepKey(run_id=RUN_ID, round=1, position=position, direction=Direction.COMPENSATION),
        pipeline="order",
        step=f"step_{position}",
        task=f"shop.undo_{position}",
        task_id=TaskId(f"task-{position}"),
        attempt=position,
        parent_id=None,
        timeout_seconds=10.0,
        options={},
    )


@pytest.fixture
def chain() -> Any:
    """The chain in the message of the last step's compensation, as a worker receives it."""
    app = Celery("shop", broker="memory://")
    send_chain(app, [message(3), message(2), message(1)])
    with app.connection_for_read() as connection, connection.SimpleQueue("celery") as queue:
        return queue.get_nowait().payload[2]["chain"]


def test_links_are_read_in_the_order_of_undoing(chain: Any) -> None:
    """Celery has the last one first."""
    expected = [Link(key=message(at).key, task_id=message(at).task_id, attempts=at - 1) for at in (2, 1)]
    assert read_chain(chain, most=None).links == tuple(expected)
    assert read_chain(chain, most=1).links == (expected[0],)


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda link: link.update(kwargs={}), id="no message of the engine"),
        pytest.param(lambda link: link["kwargs"]["backout_step"].update(version=99), id="of another release"),
        pytest.param(lambda link: link["options"].pop("task_id"), id="without a task id"),
        pytest.param(lambda link: link.update(kwargs=None), id="without arguments"),
        pytest.param(lambda link: link.clear(), id="empty"),
    ],
)
def test_what_is_not_understood_is_as_if_nothing_were_known(chain: Any, damage: Any) -> None:
    """The ledger is asked then, as it always can be."""
    damage(chain[0])
    assert read_chain(chain, most=None) == NOTHING_AHEAD
    assert read_chain(["no link"], most=None) == NOTHING_AHEAD

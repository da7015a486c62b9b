"""What the sweeper does about one row, and a worker about a dead process: the counterpart of `tasks.repair`."""

from __future__ import annotations

from backout.states import Direction, StepState
from backout.tasks.decisions import GiveBack
from tests.model import mirror, mirror_back
from tests.model.mirror import Claimed, Recorded
from tests.model.model import Model, ending_of
from tests.model.world import Key, World
from tests.model.writing import Writing


def end_attempt(writing: Writing, model: Model, world: World, key: Key, *, may_run: bool) -> Recorded:
    """End an attempt that has no answer, as its contract says."""
    row = writing.rows[key]
    assert row.token is not None
    decision = model.decide(ending_of(world, key, None))
    recorded = mirror.write(writing, model, Claimed(key=key, token=row.token), decision, may_run=may_run)
    assert recorded is not None
    return send_again(writing, model, key) if isinstance(decision, GiveBack) else recorded


def end_wait(writing: Writing, model: Model, key: Key) -> Recorded | None:
    """Let a row be claimed whose time has come; `None` when it has not."""
    is_backward = mirror_back.is_on_the_way_back(writing.run, key)
    if mirror_back.may_still_run(writing, key, of_step_only=not is_backward):
        return None
    if not writing.walk("end_wait", key, StepState.READY, is_swept=True):
        return None
    return send_again(writing, model, key)


def send_again(writing: Writing, model: Model, key: Key) -> Recorded:
    """Send the message of a row again; on the way back with the chain of all that is left."""
    if mirror_back.is_on_the_way_back(writing.run, key):
        return Recorded(chain=mirror_back.remaining_chain(writing, model))
    return Recorded(steps=((key,),))


def ask_about_definition(writing: Writing, key: Key) -> bool:
    """Ask a person about a step that no worker has taken up; its row is held, and nothing is sent for it."""
    is_open = mirror_back.open_review(writing)
    if is_open:
        writing.walk("hold_step", key, StepState.PENDING, is_swept=False, is_due=False)
    return is_open


def is_claimable(world: World, key: Key) -> bool:
    """Return whether a message for a row would be taken up now."""
    row = world.row(key)
    if row is None:
        return False
    return row.state is StepState.READY or (row.state is StepState.RETRY_SCHEDULED and row.is_due)


def carries_more(world: World, key: Key) -> bool:
    """Return whether a link that is done, or was left out, lets its chain go on."""
    row = world.row(key)
    is_done = row is not None and row.state in (StepState.SUCCEEDED, StepState.SKIPPED)
    return is_done and key[1] is not Direction.FORWARD

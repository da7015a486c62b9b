"""What the sweeper does about a row, and what time does to it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from backout.states import StepState
from tests.model import mirror_repair
from tests.model.mirror import Recorded
from tests.model.model import Model
from tests.model.move import Edge, Move, What, spend, world_after
from tests.model.world import Key, Place, Row, World
from tests.model.writing import Writing


def ledger_moves(model: Model, world: World, row: Row) -> Iterator[Edge]:
    """Yield what the sweeper does about a row, and what time does to it."""
    key = row.key
    if row.may_run:
        yield Edge(move=Move(what=What.TIME_UP, key=key), world=_end_time(model, world, key))
    match row.state:
        case StepState.RUNNING:
            yield from _expire(model, world, row)
        case StepState.WAITING:
            writing = Writing(world)
            sent = mirror_repair.end_wait(writing, model, key)
            if sent is not None:
                yield _swept(model, world, writing, Move(what=What.END_WAIT, key=key), sent)
        case StepState.RETRY_SCHEDULED if not row.is_due:
            writing = Writing(world)
            writing.change(key, is_due=True)
            yield Edge(move=Move(what=What.RETRY_DUE, key=key), world=world_after(model, world, writing))
        case StepState.READY | StepState.RETRY_SCHEDULED:
            yield from _send_due(model, world, row)
        case _:
            return


def _send_due(model: Model, world: World, row: Row) -> Iterator[Edge]:
    if not row.is_swept:
        return
    key = row.key
    # While a message is on its way another one is a duplicate: the broker's budget has those.
    if not any(links[0] == key for links in world.messages):
        writing = Writing(world)
        sent = mirror_repair.send_again(writing, model, key)
        yield _swept(model, world, writing, Move(what=What.RESEND, key=key), sent)
    budget = spend(world.budget, "unknown_tasks")
    if budget is not None:
        writing = Writing(world)
        if mirror_repair.ask_about_definition(writing, key):
            move = Move(what=What.ASK_DEFINITION, key=key, is_fault=True)
            after = world_after(model, world, writing, budget=budget)
            yield Edge(move=move, world=after, walked=tuple(writing.walked))


def _expire(model: Model, world: World, row: Row) -> Iterator[Edge]:
    key, holder = row.key, world.holder_of(row)
    ways = [(What.EXPIRE_SILENT, True), (What.EXPIRE_DEAD, False)] if holder is None else [(What.EXPIRE_SILENT, True)]
    budget = world.budget if holder is None else spend(world.budget, "zombies")
    if budget is None:
        return
    for what, may_run in ways:
        writing = Writing(world)
        sent = mirror_repair.end_attempt(writing, model, world, key, may_run=may_run)
        move = Move(what=what, key=key, token=row.token, is_fault=holder is not None)
        yield _swept(model, replace(world, budget=budget), writing, move, sent)


def _swept(model: Model, world: World, writing: Writing, move: Move, sent: Recorded) -> Edge:
    after = world_after(model, world, writing, sent=[*sent.steps, sent.chain])
    return Edge(move=move, world=after, walked=tuple(writing.walked), sent=sent)


def _end_time(model: Model, world: World, key: Key) -> World:
    """Let the time pass after which no attempt that was given up may run: what still runs of it is cut off."""
    writing = Writing(world)
    writing.change(key, may_run=False)
    cut = [
        one
        for one in world.deliveries
        if one.key == key and not world.is_held(one) and (model.ends_calls_in_time or one.place is not Place.CLAIMED)
    ]
    after = world_after(model, world, writing)
    return replace(after, deliveries=tuple(one for one in after.deliveries if one not in cut))

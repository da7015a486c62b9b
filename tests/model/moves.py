"""Everything that can happen next in a world: each move with the world that it leads to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from backout.states import StepState
from tests.model import mirror, mirror_repair
from tests.model.ledger_moves import ledger_moves
from tests.model.model import Model
from tests.model.moot import is_over
from tests.model.move import Edge, Move, What, duplicate, spend, world_after
from tests.model.worker_moves import late_moves, order_of, worker_moves
from tests.model.world import Delivery, Links, World
from tests.model.writing import Writing


def moves(model: Model, world: World) -> Iterator[Edge]:
    """Yield everything that can happen next."""
    for links in dict.fromkeys(world.messages):
        yield from _broker_moves(model, world, links)
    for delivery in dict.fromkeys(world.deliveries):
        if world.is_held(delivery):
            yield from worker_moves(model, world, delivery)
        else:
            yield from late_moves(model, world, delivery)
    for row in world.rows:
        yield from ledger_moves(model, world, row)
    if model.has_deadline and not world.is_late and not is_over(world):
        yield Edge(move=Move(what=What.RUN_LATE, key=world.rows[0].key), world=replace(world, is_late=True))


def _broker_moves(model: Model, world: World, links: Links) -> Iterator[Edge]:
    yield from _deliver(model, world, links)
    # The loss of a message that would be passed by is its delivery.
    is_wanted = mirror_repair.is_claimable(world, links[0])
    if is_wanted and (budget := spend(world.budget, "losses")) is not None:
        move = Move(what=What.LOSE, key=links[0], is_fault=True)
        yield Edge(move=move, world=world_after(model, world, taken=links, budget=budget))
    if (budget := spend(world.budget, "duplicates")) is not None:
        yield duplicate(model, world, links, budget)


def _deliver(model: Model, world: World, links: Links) -> Iterator[Edge]:
    key, writing = links[0], Writing(world)
    move = Move(what=What.DELIVER, key=key)
    token = mirror.claim_step(writing, key)
    if token is not None:
        after = world_after(model, world, writing, taken=links)
        deliveries = (*after.deliveries, Delivery(links=links, token=token))
        after = replace(after, deliveries=tuple(sorted(deliveries, key=order_of)))
        yield Edge(move=replace(move, token=token), world=after, walked=tuple(writing.walked))
        return
    rest = [links[1:]] if mirror_repair.carries_more(world, key) else []
    yield Edge(move=move, world=world_after(model, world, writing, taken=links, sent=rest))
    row = world.row(key)
    if row is not None and row.state is StepState.RUNNING and world.holder_of(row) is None:
        sent = mirror_repair.end_attempt(writing, model, world, key, may_run=False)
        after = world_after(model, world, writing, taken=links, sent=[*sent.steps, sent.chain])
        yield Edge(move=Move(what=What.NOTICE, key=key), world=after, walked=tuple(writing.walked), sent=sent)

"""What makes no difference any more, and is left out so that worlds that differ only by it are one.

A message that would be passed by now and for ever, a link that its chain would pass by, and an attempt that has lost
its claim and cannot have an effect any more: each is taken as if it had been delivered or had ended at once.

That a worker sends what is ready when it meets the message of a dead one that was done (`send_for_dead_process`) is no
move of its own: it is a message sent again, or, where the dead one had sent it, one that comes twice.
"""

from __future__ import annotations

from dataclasses import replace

from backout.states import Direction, RunState, StepState
from tests.model.world import Budget, Delivery, Links, Place, World

_MOVING = frozenset(
    {StepState.PENDING, StepState.READY, StepState.RUNNING, StepState.RETRY_SCHEDULED, StepState.WAITING}
)
_PASSED = frozenset({StepState.SUCCEEDED, StepState.SKIPPED})


def is_over(world: World) -> bool:
    """Return whether nothing can be claimed any more, unless a person acts."""
    if not world.run.state.is_settled:
        return False
    # What waits for a link before it is left alone with its run.
    return all(row.state not in _MOVING or row.state is StepState.PENDING for row in world.rows)


def without_moot(world: World) -> World:
    """Return the world without messages and attempts that make no difference."""
    is_at_end = is_over(world)
    messages = () if is_at_end else _messages_of(world)
    budget = Budget() if is_at_end else world.budget
    deliveries = tuple(one for one in world.deliveries if world.is_held(one) or _may_have_effect(one))
    if (messages, deliveries, budget) == (world.messages, world.deliveries, world.budget):
        return world
    return replace(world, messages=messages, deliveries=deliveries, budget=budget)


def _messages_of(world: World) -> tuple[Links, ...]:
    left = (_left_of(world, links) for links in world.messages)
    return tuple(sorted(links for links in left if links))


def _left_of(world: World, links: Links) -> Links:
    while links and (row := world.row(links[0])) is not None and row.state.is_finished:
        if row.direction is Direction.RECONCILE and world.run.state is not RunState.ROLLING_BACK:
            # It may be asked again.
            return links
        is_passed = row.direction is not Direction.FORWARD and row.state in _PASSED
        links = links[1:] if is_passed else ()
    return links


def _may_have_effect(delivery: Delivery) -> bool:
    """Return whether an attempt that has lost its claim matters: a forward one for as long as it runs (R5)."""
    if delivery.key[1] is Direction.FORWARD:
        return True
    return delivery.key[1] is Direction.COMPENSATION and delivery.place is Place.CLAIMED

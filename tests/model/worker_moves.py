"""What a worker does with a claimed attempt, from the claim to the acknowledgement, and where it can die."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from backout.states import Answer, Direction
from tests.model import mirror
from tests.model.mirror import Claimed, Recorded
from tests.model.model import Model, ending_of
from tests.model.moot import without_moot
from tests.model.move import Edge, Move, What, duplicate, spend, world_after
from tests.model.pipelines import Result
from tests.model.world import Book, Budget, Delivery, Key, Links, Place, World
from tests.model.writing import Writing


def order_of(delivery: Delivery) -> tuple[object, ...]:
    """Return by what deliveries are sorted, so that equal worlds are equal values."""
    return (delivery.links, delivery.token, delivery.place, delivery.answer or "")


def worker_moves(model: Model, world: World, delivery: Delivery) -> Iterator[Edge]:
    """Yield what a worker can do that holds a claim, and what can happen to it."""
    key = delivery.key
    if (budget := spend(world.budget, "duplicates")) is not None:
        yield duplicate(model, world, delivery.links, budget)
    if (budget := spend(world.budget, "crashes")) is not None:
        move = Move(what=What.CRASH, key=key, token=delivery.token, is_fault=True)
        back = [delivery.links]
        yield Edge(move=move, world=world_after(model, world, done=delivery, sent=back, budget=budget))
        if delivery.place is not Place.ANSWERED:
            yield _cut_off(model, world, delivery, budget)
    if delivery.place is Place.CLAIMED and (budget := spend(world.budget, "old_workers")) is not None:
        writing = Writing(world)
        mirror.release_uncalled(writing, Claimed(key=key, token=delivery.token))
        move = Move(what=What.REFUSE, key=key, token=delivery.token, is_fault=True)
        after = world_after(model, world, writing, done=delivery, budget=budget)
        yield Edge(move=move, world=after, walked=tuple(writing.walked))
    if key[1].is_question:
        yield from _question_moves(model, world, delivery)
    else:
        yield from _step_moves(model, world, delivery)


def _cut_off(model: Model, world: World, delivery: Delivery, budget: Budget) -> Edge:
    """End the attempt as a shutdown does: Celery gives the message back, whatever was recorded."""
    recorded, writing = _write_end(model, world, delivery, Result.CUT_OFF)
    more = [delivery.links, *(recorded.steps if recorded is not None else ())]
    move = Move(what=What.CUT_OFF, key=delivery.key, token=delivery.token, result=Result.CUT_OFF, is_fault=True)
    after = world_after(model, world, writing, done=delivery, sent=more, budget=budget)
    return Edge(move=move, world=after, walked=tuple(writing.walked), sent=recorded)


def late_moves(model: Model, world: World, delivery: Delivery) -> Iterator[Edge]:
    """Yield what an attempt can do that has lost its claim: have its effect, and end without being applied (R3)."""
    if delivery.place is Place.CLAIMED and model.has_effect(delivery.key):
        yield _affect(model, world, delivery)
    yield from _end(model, world, delivery, Result.OK if not delivery.key[1].is_question else Result.FINAL)


def _step_moves(model: Model, world: World, delivery: Delivery) -> Iterator[Edge]:
    key, step = delivery.key, model.pipeline[delivery.key[0]]
    is_forward = key[1] is Direction.FORWARD
    if delivery.place is Place.AFFECTED:
        for result in step.after if is_forward else step.undo_after:
            yield from _end(model, world, delivery, result)
        return
    if model.has_effect(key):
        yield _affect(model, world, delivery)
    for result in step.before if is_forward else step.undo_before:
        if result in (Result.NO_EFFECT, Result.SKIP) and world.books[key[0]].effects:
            # A function that says so has looked.
            continue
        yield from _end(model, world, delivery, result)
    if is_forward and world.is_late:
        yield from _end(model, world, delivery, Result.LATE)


def _affect(model: Model, world: World, delivery: Delivery) -> Edge:
    moved = replace(world, books=_with_effect(model, world.books, delivery.key))
    after = _move_to(moved, delivery, replace(delivery, place=Place.AFFECTED))
    move = Move(what=What.AFFECT, key=delivery.key, token=delivery.token)
    return Edge(move=move, world=after if model.keeps_moot else without_moot(after))


def _with_effect(model: Model, books: tuple[Book, ...], key: Key) -> tuple[Book, ...]:
    book, is_again_harmless = books[key[0]], model.is_idempotent(key)
    if key[1] is Direction.FORWARD:
        # What happens after it was undone is a second effect even under the same key.
        is_new = not (is_again_harmless and book.effects and not book.undos)
        book = replace(book, effects=book.effects + is_new)
    else:
        book = replace(book, undos=book.undos + (not (is_again_harmless and book.undos)))
    return (*books[: key[0]], book, *books[key[0] + 1 :])


def _question_moves(model: Model, world: World, delivery: Delivery) -> Iterator[Edge]:
    key, step = delivery.key, model.pipeline[delivery.key[0]]
    if delivery.place is Place.ANSWERED:
        yield from _end(model, world, delivery, Result.ANSWER)
        return
    is_reconcile = key[1] is Direction.RECONCILE
    answer = Answer.DONE if world.books[key[0]].effects else Answer.NOT_DONE
    if is_reconcile or answer is Answer.DONE:
        answered = replace(delivery, place=Place.ANSWERED, answer=answer)
        move = Move(what=What.ANSWER, key=key, token=delivery.token, answer=answer)
        yield Edge(move=move, world=_move_to(world, delivery, answered))
    for result in step.question:
        if is_reconcile or result is not Result.UNKNOWN:
            yield from _end(model, world, delivery, result)


def _move_to(world: World, delivery: Delivery, moved: Delivery) -> World:
    deliveries = [moved if one == delivery else one for one in world.deliveries]
    return replace(world, deliveries=tuple(sorted(deliveries, key=order_of)))


def _end(model: Model, world: World, delivery: Delivery, result: Result) -> Iterator[Edge]:
    """Commit an outcome and send what follows; the worker may die in between, or before it acknowledges."""
    recorded, writing = _write_end(model, world, delivery, result)
    sent = _sent(delivery, recorded, result)
    move = Move(what=What.END, key=delivery.key, token=delivery.token, result=result, answer=delivery.answer)
    walked = tuple(writing.walked)
    after = world_after(model, world, writing, done=delivery, sent=sent)
    yield Edge(move=move, world=after, walked=walked, sent=recorded)
    if (budget := spend(world.budget, "crashes")) is not None and recorded is not None:
        for what, more in ((What.END_AND_DIE, []), (What.END_SEND_AND_DIE, sent)):
            back = [*more, delivery.links]
            after = world_after(model, world, writing, done=delivery, sent=back, budget=budget)
            yield Edge(move=replace(move, what=what, is_fault=True), world=after, walked=walked, sent=recorded)


def _write_end(model: Model, world: World, delivery: Delivery, result: Result) -> tuple[Recorded | None, Writing]:
    writing = Writing(world)
    decision = model.decide(ending_of(world, delivery.key, result, delivery.answer))
    claim = Claimed(key=delivery.key, token=delivery.token)
    return mirror.write(writing, model, claim, decision), writing


def _sent(delivery: Delivery, recorded: Recorded | None, result: Result) -> list[Links]:
    """Return the messages that go out: Celery itself publishes the next link of a chain after a success."""
    if recorded is None:
        return []
    if delivery.links[1:] and result in (Result.OK, Result.SKIP, Result.ANSWER):
        return [*recorded.steps, delivery.links[1:]]
    return [*recorded.steps, recorded.chain]

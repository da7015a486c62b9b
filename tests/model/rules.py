"""The rules R1 to R14 as they can be seen in one world, in one move, and where nothing moves any more.

R1 is in the shape of the model: a message is acknowledged by the move that has committed. R9 and R10 are about what
comes in from outside, which the model has not. R12 is the model itself; R13 is about actions by hand.
"""

from __future__ import annotations

from collections.abc import Iterator

from backout.pipelines.contract import OnFailure, RecoveryKind
from backout.states import TRANSITIONS, Answer, Direction, RollbackOutcome, RunState, StepState
from tests.model.model import Model
from tests.model.move import Edge, What
from tests.model.pipelines import Result
from tests.model.world import Key, Place, Row, World, say
from tests.model.writing import Walked

_MOVING = (StepState.READY, StepState.RUNNING, StepState.RETRY_SCHEDULED, StepState.WAITING)
_UNDER_WAY = (RunState.PENDING, RunState.RUNNING, RunState.ROLLING_BACK)
_BACKWARD = (Direction.COMPENSATION, Direction.RECONCILE)


def broken_in_world(model: Model, world: World) -> Iterator[str]:
    """Yield what is wrong with a world."""
    for position, book in enumerate(world.books):
        if book.effects > 1:
            yield f"R2, R8: step {position} had its effect {book.effects} times, or after it was undone"
        if book.undos > 1:
            yield f"R6: step {position} was undone {book.undos} times"
    if world.run.state in _UNDER_WAY and not any(row.state in _MOVING and row.is_swept for row in world.rows):
        yield f"R4: the run is {world.run.state} and nothing will move it on"
    yield from _broken_order(world)
    yield from _broken_claims(world)
    yield from _broken_outcome(model, world)


def _broken_order(world: World) -> Iterator[str]:
    running = [one for one in world.deliveries if one.key[1] is Direction.FORWARD and one.place is not Place.ANSWERED]
    for one in world.deliveries:
        if one.place is Place.ANSWERED or not world.is_held(one):
            continue
        if one.key[1] is Direction.COMPENSATION and running:
            yield f"R5: step {one.key[0]} is being undone while a forward attempt of step {running[0].key[0]} runs"
        if one.key[1] is Direction.RECONCILE and any(other.key[0] == one.key[0] for other in running):
            yield f"R8: it is asked whether step {one.key[0]} has happened while an attempt of it runs"
    undos = sorted(_undos(world), key=lambda row: row.start_order)
    starts = [row.start_order for undo in undos if (row := world.row((undo.position, Direction.FORWARD))) is not None]
    if starts != sorted(starts, reverse=True):
        yield "R5: the steps are not undone in the reverse order of their start"
    for number, undo in enumerate(undos):
        has_begun = undo.attempt > 0 or undo.state in (StepState.READY, StepState.RUNNING, StepState.WAITING)
        if has_begun and not all(earlier.state.is_finished for earlier in undos[:number]):
            yield f"R5: step {undo.position} is being undone before one that started later"


def _undos(world: World) -> list[Row]:
    return [row for row in world.rows if row.direction is Direction.COMPENSATION]


def _broken_claims(world: World) -> Iterator[str]:
    held = [one.key for one in world.deliveries if world.is_held(one)]
    if len(held) > 1:
        yield f"R3: more than one attempt of the run holds a claim: {[say(key) for key in held]}"


def _broken_outcome(model: Model, world: World) -> Iterator[str]:
    for position, step in enumerate(model.plan.steps):
        is_crossed = step.recovery is RecoveryKind.IRREVERSIBLE and world.books[position].effects
        if is_crossed and world.run.state in (RunState.ROLLING_BACK, RunState.ROLLED_BACK):
            yield f"R7: the rollback has crossed step {position}, which cannot be undone"
    is_any_undone = any(row.state is StepState.SUCCEEDED for row in _undos(world))
    if is_any_undone and world.run.outcome is RollbackOutcome.NONE and world.run.state.is_settled:
        yield "steps are undone, and the run says that there was no rollback"


def broken_by_move(model: Model, before: World, edge: Edge) -> Iterator[str]:
    """Yield what is wrong with a move."""
    if edge.world.rows is before.rows and edge.world.run == before.run and not edge.walked:
        return
    for row in before.rows:
        later = edge.world.row(row.key)
        if later is None:
            yield f"R11: the row of {say(row.key)} is gone"
            continue
        if row.state is StepState.SUCCEEDED and not row.direction.is_question:
            allowed = (StepState.SUCCEEDED, StepState.UNDONE) if row.direction is Direction.FORWARD else (row.state,)
            if later.state not in allowed:
                yield f"R2, R6: {say(row.key)} had succeeded and is {later.state}"
        if row.has_output and not later.has_output and not row.direction.is_question:
            yield f"R14: the output of {say(row.key)} is gone"
    yield from _broken_late_result(before, edge)
    yield from _broken_arrows(before, edge)
    yield from _broken_release(model, edge)
    yield from _broken_word(edge)
    if before.run.state.is_settled and any(walked.arrow == "claim_step" for walked in edge.walked):
        yield f"R4: an attempt starts although the run is {before.run.state}, in which the engine does nothing more"


def _broken_arrows(before: World, edge: Edge) -> Iterator[str]:
    """Yield changes of state that no arrow explains, so that they would have no entry."""
    states: dict[Key | None, str | None] = {row.key: row.state for row in before.rows}
    states[None] = before.run.state
    for walked in edge.walked:
        if states.get(walked.key) != walked.source or not _is_legal(walked):
            yield f"R11: {walked.arrow} cannot lead {say(walked.key)} from {states.get(walked.key)} to {walked.target}"
        states[walked.key] = walked.target
    after: dict[Key | None, str | None] = {row.key: row.state for row in edge.world.rows}
    after[None] = edge.world.run.state
    for key in after.keys() | states.keys():
        if after.get(key) != states.get(key):
            yield f"R11: {say(key)} became {after.get(key)} without an entry"
    claimed = {walked.key for walked in edge.walked if walked.arrow == "claim_step"}
    for row in edge.world.rows:
        earlier = before.row(row.key)
        if earlier is not None and earlier.attempt < row.attempt and row.key not in claimed:
            yield f"R3: {say(row.key)} has a new attempt without an arrow"


def _is_legal(walked: Walked) -> bool:
    arrow = TRANSITIONS[walked.arrow]
    is_start = arrow.creates if walked.source is None else walked.source in arrow.sources
    return is_start and walked.target in arrow.targets


def _broken_late_result(before: World, edge: Edge) -> Iterator[str]:
    move = edge.move
    if move.what not in (What.END, What.END_AND_DIE, What.END_SEND_AND_DIE, What.CUT_OFF):
        return
    row = before.row(move.key)
    is_late = row is None or row.state is not StepState.RUNNING or row.token != move.token
    if is_late and (edge.world.rows, edge.world.run) != (before.rows, before.run):
        yield f"R3: a late result of {say(move.key)} was applied"


def _broken_release(model: Model, edge: Edge) -> Iterator[str]:
    if edge.move.what is What.REFUSE:
        # Its function was not called.
        return
    for walked in edge.walked:
        if walked.arrow == "release_claim" and walked.key is not None and not model.is_idempotent(walked.key):
            yield f"R8: {say(walked.key)} is in doubt, is not idempotent, and runs again"


def _broken_word(edge: Edge) -> Iterator[str]:
    """Yield a failure whose step has said that nothing happened, where the record does not say it."""
    row = edge.world.row(edge.move.key)
    has_failed = any(walked.arrow == "fail_step" for walked in edge.walked)
    if edge.move.result is Result.NO_EFFECT and has_failed and row is not None and not row.no_effect:
        yield f"R4: {say(row.key)} has said that nothing happened, and would be undone"


def broken_at_rest(model: Model, world: World) -> Iterator[str]:
    """Yield what is wrong with a world in which nothing moves any more unless something breaks or a person acts."""
    if not world.run.state.is_settled:
        yield f"R4: the run is {world.run.state} for ever"
    for row in world.rows:
        yield from _broken_books(model, world, row)
    if world.run.state is RunState.ROLLED_BACK:
        yield from _broken_rollback(model, world)
    if world.run.state is RunState.SUCCEEDED:
        yield from _broken_success(model, world)


def _broken_books(model: Model, world: World, row: Row) -> Iterator[str]:
    book, happened = world.books[row.position], model.has_effect(row.key)
    # An attempt that was given up may have its effect after a later one has said that there is none.
    is_known = row.lost_attempts == 0
    match row.direction, row.state:
        case Direction.FORWARD, StepState.SUCCEEDED if happened and book.effects != 1:
            yield f"R4: step {row.position} is recorded as done and was done {book.effects} times"
        case Direction.FORWARD, StepState.UNDONE if (book.effects, book.undos) != (1, 1):
            yield f"R4: step {row.position} is recorded as undone; the books say {book}"
        case Direction.FORWARD, StepState.SKIPPED if book.effects and is_known:
            yield f"R4: step {row.position} is recorded as skipped and was done"
        case Direction.FORWARD, StepState.FAILED if row.no_effect and book.effects and is_known:
            yield f"R4: step {row.position} is recorded as failed without effect and was done"
        case Direction.COMPENSATION, StepState.SUCCEEDED if book.undos != 1:
            yield f"R4: step {row.position} is recorded as undone and was undone {book.undos} times"
        case _:
            return


def _broken_rollback(model: Model, world: World) -> Iterator[str]:
    for position, (step, book) in enumerate(zip(model.plan.steps, world.books, strict=True)):
        if step.recovery is RecoveryKind.COMPENSATE and book.effects and not book.undos:
            yield f"R4: the run is rolled back and the effect of step {position} stays"
        question = world.row((position, Direction.RECONCILE))
        said_not_done = question is not None and question.answer is Answer.NOT_DONE
        if book.undos and not book.effects and said_not_done and not _ran_again(world, position):
            yield f"R4: step {position} was undone although it had not happened"


def _ran_again(world: World, position: int) -> bool:
    """Return whether a step was started after its reconcile function had said that it had not happened."""
    forward = world.row((position, Direction.FORWARD))
    return forward is not None and forward.attempt > forward.lost_attempts


def _broken_success(model: Model, world: World) -> Iterator[str]:
    for position, step in enumerate(model.plan.steps):
        row = world.row((position, Direction.FORWARD))
        ended = {StepState.SUCCEEDED, StepState.SKIPPED}
        if step.on_failure is OnFailure.CONTINUE:
            ended.add(StepState.FAILED)
        if row is None or row.state not in ended:
            yield f"R4: the run has succeeded and step {position} is {row.state if row else 'missing'}"
        if world.books[position].undos:
            yield f"R4: the run has succeeded and step {position} was undone"

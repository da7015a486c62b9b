"""The way forward as a person asks for it: resume, retry, skip; also after a rollback, in a new round. Pure."""

from __future__ import annotations

from dataclasses import replace

from backout.compensations.moves import (
    Ask,
    Clear,
    Close,
    Hasten,
    Intent,
    Move,
    Ready,
    Reopen,
    ResumeRun,
    Start,
    SucceedRun,
)
from backout.compensations.parts import (
    UNFINISHED,
    close_unfinished,
    decide_reviews,
    has_turned_back,
    planned_question,
    planned_run,
    run_is,
    wait_for_attempt,
)
from backout.compensations.plan import may_have_happened
from backout.compensations.requests import PlannedTask, Refusal, RunView, Verb
from backout.compensations.returning import decide_continue
from backout.compensations.rounds import (
    existing_effect,
    is_closed,
    is_in_doubt,
    is_undone,
    key_in_round,
    newest_rows,
    next_position,
    restart_position,
    standing_positions,
)
from backout.jsontext import JsonValue
from backout.ledger.records import StepKey, StepRecord
from backout.pipelines.contract import StepContract
from backout.pipelines.words import state_when_done, state_while_running, state_while_verifying
from backout.states import ACTIVE_RUN_STATES, Direction, RunState, StepState

_ENDED = (StepState.SUCCEEDED, StepState.SKIPPED, StepState.UNDONE)


def decide_resume(view: RunView) -> Intent | Refusal:
    """Return how a run goes on where it stopped."""
    if view.run.state in ACTIVE_RUN_STATES:
        return Refusal(why=f"{run_is(view)} already", remedy="Wait; `backout runs watch` shows it.")
    if view.run.state is RunState.SUCCEEDED:
        return Refusal(why="the run has succeeded", remedy="To undo it, ask for `rollback`.")
    if view.is_rollback_open:
        return decide_continue(view)
    return go_on(view, Verb.RESUME.value)


def decide_retry(view: RunView, step: str | None) -> Intent | Refusal:
    """Return how the step runs again at which the run stopped."""
    row = view.frontier
    if row is None or view.run.state is RunState.SUCCEEDED:
        return Refusal(why=f"{run_is(view)}: no step has failed", remedy="There is nothing to run again.")
    if view.is_rollback_open:
        return Refusal(why="the run is on its way back", remedy="Ask for `continue_rollback`.")
    if step is not None and step != row.step and not _starts_again(view, row):
        return Refusal(
            why=f"the run stands at {row.step}, not at {step}",
            remedy=f"To run {step} again, undo back to the step before it (`rollback` with `to_step`), then `resume`.",
        )
    if view.run.state in ACTIVE_RUN_STATES:
        if row.state is StepState.RETRY_SCHEDULED and not view.running:
            task = planned_run(view, row.position, key=row.idempotency_key)
            return Intent(moves=(Hasten(key=row.key),), leads_to=view.run.state, tasks=(task,))
        return Refusal(why=f"{run_is(view)} and {row.step} is {row.state}", remedy="Wait; the engine is at it.")
    is_stopped = row.state not in _ENDED or _starts_again(view, row) or _failed_question(view, row) is not None
    if not is_stopped:
        return Refusal(why=f"{row.step}, where the run stands, is {row.state}", remedy="Ask for `resume`.")
    intent = go_on(view, Verb.RETRY_STEP.value)
    first = next((task.step for task in intent.tasks), None) if isinstance(intent, Intent) else None
    if step is not None and first is not None and step != first:
        return Refusal(
            why=f"the run starts again at {first}, not at {step}",
            remedy=f"Ask for `retry_step` of {first}, or for `resume`.",
        )
    return intent


def decide_skip(view: RunView, step: str | None) -> Intent | Refusal:
    """Return how a run goes on without the step at which it stopped."""
    row = view.frontier
    if row is None or view.is_rollback_open or view.run.state in (RunState.SUCCEEDED, RunState.ROLLED_BACK):
        return Refusal(
            why=f"{run_is(view)}: no forward step is waiting",
            remedy="On the way back, `resolve` the review with `accept` to go on without an undo.",
        )
    if view.running:
        return wait_for_attempt(view)
    if step is not None and step != row.step:
        return Refusal(why=f"the run stands at {row.step}, not at {step}", remedy=f"Skip {row.step}, or nothing.")
    if _starts_again(view, row) or (row.state in _ENDED and _failed_question(view, row) is None):
        return Refusal(why=f"{row.step}, where the run stands, is {row.state}", remedy="Ask for `resume`.")
    closed: tuple[Move, ...] = close_unfinished(view)
    if row.state is StepState.IN_DOUBT:
        # It becomes a step that failed: its effect may exist, so a later rollback still asks about it and undoes it.
        closed = (*closed, Close(row=row))
    notes = [f"Later steps find no output of {row.step}."] if row.state is not StepState.SUCCEEDED else []
    if row.attempt and row.state is not StepState.SUCCEEDED:
        notes.append(f"{row.step} may have happened; a later rollback undoes it.")
    following = start_after(view, row, verb=Verb.SKIP_STEP.value, is_failed=row.state is StepState.FAILED)
    return replace(following, moves=(*closed, *following.moves), notes=(*notes, *following.notes))


def is_void(view: RunView, row: StepRecord) -> bool:
    """Return whether a forward row counts for nothing any more: it was undone, or closed before it was called."""
    return is_closed(row) or is_undone(row, view.steps)


def _starts_again(view: RunView, row: StepRecord) -> bool:
    """Return whether the run can only go on in a new round: where it stands, nothing is left to go on from."""
    return is_void(view, row) or has_turned_back(view)


def _failed_question(view: RunView, row: StepRecord) -> StepRecord | None:
    """Return the verify row that keeps a published step from being done; `None` when nothing does."""
    verify = view.companion(row, Direction.VERIFY)
    return verify if verify is not None and verify.state is not StepState.SUCCEEDED else None


def go_on(view: RunView, verb: str) -> Intent | Refusal:
    """Return how a run that does nothing by itself goes on at the place where it stands."""
    row = view.frontier
    if row is None:
        return Refusal(why="the run has no step", remedy="Its rows were changed by hand; enqueue it again.")
    if _starts_again(view, row):
        return _restart(view, verb)
    if row.state is StepState.RUNNING or view.running:
        return _resumed(view, verb, (), row=row)
    match row.state:
        case StepState.PENDING:
            return _resumed(view, verb, (Ready(key=row.key),), row=row, runs=True)
        case StepState.FAILED if is_in_doubt(row) and not view.plan.steps[row.position].idempotent:
            return _nobody_knows(view, row)
        case StepState.FAILED:
            return _resumed(view, verb, (Reopen(row=row),), row=row, runs=True)
        case StepState.RETRY_SCHEDULED:
            return _resumed(view, verb, (Hasten(key=row.key),), row=row, runs=True)
        case StepState.IN_DOUBT:
            return _in_doubt(view, row, verb)
        case StepState.SUCCEEDED | StepState.SKIPPED:
            question = _failed_question(view, row)
            return _verify_again(view, row, question, verb) if question else start_after(view, row, verb=verb)
        case _:
            return _resumed(view, verb, (), row=row)


def _in_doubt(view: RunView, row: StepRecord, verb: str) -> Intent | Refusal:
    contract = view.plan.steps[row.position]
    question = view.companion(row, Direction.RECONCILE)
    if question is not None and question.state in UNFINISHED:
        moves: tuple[Move, ...] = (Ready(key=question.key),) if question.state is StepState.PENDING else ()
        return _resumed(view, verb, moves, row=row, asks=Direction.RECONCILE)
    if contract.reconcile is not None:
        key = replace(row.key, direction=Direction.RECONCILE)
        return _resumed(view, verb, (Ask(key=key, row=row),), row=row, asks=Direction.RECONCILE)
    if contract.idempotent:
        return _resumed(view, verb, (Clear(row=row),), row=row, runs=True)
    return _nobody_knows(view, row)


def _nobody_knows(view: RunView, row: StepRecord) -> Refusal:
    find_out = f"Find out whether it did (idempotency key {row.idempotency_key}), then `resolve` its review with "
    unasked = "Its review is decided: `skip_step` goes on without it, `rollback` undoes what can be undone."
    return Refusal(
        why=f"{row.step} may have happened: attempt {row.attempt} was cut off before it answered (R8)",
        remedy=f"{find_out}`done` or `not_done`." if view.reviews else unasked,
    )


def _verify_again(view: RunView, row: StepRecord, question: StepRecord, verb: str) -> Intent:
    match question.state:
        case StepState.PENDING:
            moves: tuple[Move, ...] = (Ready(key=question.key),)
        case StepState.FAILED:
            moves = (Ask(key=question.key, row=row),)
        case _:
            moves = ()
    return _resumed(view, verb, moves, row=row, asks=Direction.VERIFY)


def _resumed(
    view: RunView,
    verb: str,
    moves: tuple[Move, ...],
    *,
    row: StepRecord,
    runs: bool = False,
    asks: Direction | None = None,
) -> Intent:
    """Return the intent of a run that goes on with rows that it has."""
    contract = view.plan.steps[row.position]
    state = state_while_running(_last_done(view), contract)
    tasks: tuple[PlannedTask, ...] = ()
    if asks is not None:
        tasks = (planned_question(view, row, asks),)
        state = state_while_verifying(contract) if asks is Direction.VERIFY else state
    elif runs:
        tasks = (planned_run(view, row.position, key=row.idempotency_key),)
    resumed = ResumeRun(
        operator_state=state,
        round_number=row.round,
        last_successful_step=view.run.last_successful_step,
    )
    warning = uncertain(contract, row) if runs else ""
    return Intent(
        moves=(*moves, resumed, *decide_reviews(view, verb)),
        leads_to=RunState.RUNNING,
        tasks=tasks,
        notes=(*([warning] if warning else []), *_deadline_note(view)),
        is_safe=not warning,
    )


def uncertain(contract: StepContract, row: StepRecord) -> str:
    """Return why running a row again may do something twice; empty when it does not, as far as the ledger can tell."""
    # What is held or scheduled, the engine had found safe to run before a person came.
    is_due_anyway = row.state not in (StepState.FAILED, StepState.IN_DOUBT)
    if contract.idempotent or is_due_anyway or row.attempt == 0 or not may_have_happened(row):
        return ""
    failed = (row.error or {}).get("message", "no error is recorded")
    return (
        f"Not certain: {row.step} failed ({failed}) and may have had its effect before that. "
        f"It gets the same idempotency key, {row.idempotency_key}; make sure that its provider knows it."
    )


def _last_done(view: RunView) -> StepContract | None:
    name = view.run.last_successful_step
    return None if name is None else view.plan.steps[view.plan.position_of(name)]


def _deadline_note(view: RunView) -> tuple[str, ...]:
    if view.run.deadline_at is None:
        return ()
    return (f"The run's deadline is {view.run.deadline_at:%Y-%m-%d %H:%M:%S} UTC; if it has passed, it is lifted.",)


def start_after(
    view: RunView,
    row: StepRecord,
    *,
    verb: str,
    output: JsonValue = None,
    is_settled: bool = False,
    is_failed: bool = False,
) -> Intent:
    """Return how a run goes on after a row that has ended.

    Args:
        view: the run.
        row: the forward row.
        verb: what decides the open reviews.
        output: of the step, where a person has just said that it is done.
        is_settled: a person has just said that it is done.
        is_failed: it failed, and the run goes on without it.
    """
    plan, position = view.plan, next_position(view.plan, view.steps, after=row.position)
    is_done = is_settled or row.state is StepState.SUCCEEDED
    last_done = plan.steps[row.position] if is_done else _last_done(view)
    failed = plan.steps[row.position] if is_failed else None
    last_name = last_done.name if last_done is not None else None
    resumed = ResumeRun(
        operator_state=state_when_done(last_done, failed)
        if position is None
        else state_while_running(last_done, plan.steps[position]),
        round_number=row.round,
        last_successful_step=last_name,
        is_error_over=is_settled,
    )
    moves: tuple[Move, ...] = (resumed, *decide_reviews(view, verb))
    if position is None:
        is_last = row.position == len(plan.steps) - 1
        stored = output if is_settled and is_last else _output_of_last(view)
        closing = SucceedRun(operator_state=state_when_done(last_done, failed), output=stored)
        return Intent(moves=(*moves, closing), leads_to=RunState.SUCCEEDED)
    return _started(view, moves, position, row.round, start_order=row.start_order + 1)


def _output_of_last(view: RunView) -> JsonValue:
    row = newest_rows(view.steps).get(len(view.plan.steps) - 1)
    return row.output if row is not None and row.state is StepState.SUCCEEDED else None


def _restart(view: RunView, verb: str) -> Intent | Refusal:
    """Return how a run starts again after a rollback: a new round, from the first step that was undone."""
    position = restart_position(view.plan, view.steps, left=view.run.rollback_to)
    standing = standing_positions(view.plan, view.steps)
    if position is None:
        return Refusal(why="every step of the run stands", remedy="There is nothing to run again.")
    places = [p for p in sorted(newest_rows(view.steps)) if p >= position and p not in standing]
    again = [row for p in places if (row := existing_effect(view.steps, p)) is not None]
    doubtful = next((r for r in again if is_in_doubt(r) and not view.plan.steps[r.position].idempotent), None)
    if doubtful is not None:
        return _not_undone(view, doubtful)
    warnings = [warning for row in again if (warning := uncertain(view.plan.steps[row.position], row))]
    before = max((p for p in standing if p < position), default=None)
    last_done = view.plan.steps[before] if before is not None else None
    round_number = max(step.round for step in view.steps) + 1
    resumed = ResumeRun(
        operator_state=state_while_running(last_done, view.plan.steps[position]),
        round_number=round_number,
        last_successful_step=last_done.name if last_done is not None else None,
        is_error_over=True,
    )
    moves: tuple[Move, ...] = (resumed, *decide_reviews(view, verb))
    intent = _started(view, moves, position, round_number, start_order=1)
    passed = [view.plan.steps[p].name for p in sorted(standing) if p > position]
    stands = (f"{', '.join(passed)} was not undone: it stands, and is not repeated.",) if passed else ()
    unseen = tuple(
        f"What {row.step} has published was not seen live."
        for p, row in sorted(newest_rows(view.steps).items())
        if p in standing and _failed_question(view, row) is not None
    )
    note = f"Round {round_number} starts at {view.plan.steps[position].name}; history stays as it is."
    return replace(
        intent,
        notes=(note, *stands, *unseen, *warnings, *intent.notes),
        is_safe=not (warnings or unseen or view.stopped_undos),
    )


def _not_undone(view: RunView, row: StepRecord) -> Refusal:
    has_undo = view.plan.steps[row.position].compensation is not None
    has_row = view.companion(row, Direction.COMPENSATION) is not None
    undo = f"`rerun_compensation` of {row.step} undoes it first." if has_row else "`rollback` undoes it first."
    return Refusal(
        why=f"{row.step} would run again, and may have happened: an attempt was cut off before it answered (R8)",
        remedy=undo if has_undo else "It cannot be undone: find out whether it happened, and enqueue a new run.",
    )


def _started(view: RunView, moves: tuple[Move, ...], position: int, round_number: int, *, start_order: int) -> Intent:
    run_id = view.run.id
    key = key_in_round(view.plan, view.steps, run_id, position, round_number)
    start = Start(
        key=StepKey(run_id=run_id, round=round_number, position=position, direction=Direction.FORWARD),
        step=view.plan.steps[position].name,
        start_order=start_order,
        idempotency_key=key,
    )
    return Intent(
        moves=(*moves, start),
        leads_to=RunState.RUNNING,
        tasks=(planned_run(view, position, key=key),),
        notes=_deadline_note(view),
    )

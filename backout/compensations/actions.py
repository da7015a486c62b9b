"""The verbs by hand: look, decide, write, send. Each has a preview that uses the same pure decision.

An action locks the run, reads it, asks `intents.decide`, and writes what that says, all in one transaction (R13); the
messages go out after the commit. The one place where a person changes a run: the command line, Flower and Django call
this.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from backout.compensations.intents import decide
from backout.compensations.moves import Intent, Move, Settle, SucceedRun
from backout.compensations.requests import PlannedTask, Refusal, Request, ReviewDecision, RunView, Verb
from backout.compensations.writing import Written, write
from backout.errors import ActionRefused, StateChanged, UnknownRun
from backout.identifiers import RunId
from backout.jsontext import JsonValue
from backout.ledger import due, queries
from backout.ledger.session import LedgerConnection
from backout.ledger.taking import take_claimable_steps, take_run
from backout.pipelines.contract import Plan
from backout.pipelines.engine import Engine, current_engine
from backout.pipelines.functions import find_function
from backout.pipelines.handle import RunHandle
from backout.pipelines.schema import Unserialisable, to_json
from backout.pipelines.secrets import secrets_of
from backout.states import Direction, RunState, StepState

LONGEST_ACTOR = 200
LONGEST_REASON = 2_000
_CLAIMABLE = (StepState.READY, StepState.RETRY_SCHEDULED, StepState.WAITING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What an action would do. Nothing was written.

    Attributes:
        state: of the run now.
        version: what the preview was made on; given as `expecting`, an action is refused when anything has changed.
        refusal: why it would be refused, with the remedy; `None`: it would be done.
        leads_to: the state of the run right after it; `None` when refused.
        tasks: Celery tasks that would run, in order. Forward only the next one: what follows depends on it.
        notes: what a person should know before they agree, each a sentence.
        is_safe: nothing would be done twice or lost, as far as the ledger can tell.
    """

    verb: Verb
    run_id: RunId
    state: RunState
    version: str
    refusal: Refusal | None = None
    leads_to: RunState | None = None
    tasks: tuple[PlannedTask, ...] = ()
    notes: tuple[str, ...] = ()
    is_safe: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionDone:
    """What an action has done.

    Attributes:
        state: of the run right after it.
        tasks: Celery tasks that run now, in order, as in the preview.
        is_sent: the broker took the first message; otherwise the sweeper sends it.
    """

    verb: Verb
    run_id: RunId
    state: RunState
    tasks: tuple[PlannedTask, ...]
    notes: tuple[str, ...]
    is_sent: bool


def preview(run: RunHandle | str, request: Request, *, engine: Engine | None = None) -> Preview:
    """Return what a request would do to a run. Changes nothing.

    Args:
        run: a handle, or a run's id.
        request: what a person asks for.
        engine: whose ledger it is; `None`: the current Celery app's.

    Raises:
        UnknownRun: the ledger has no such run.
    """
    found, run_id = engine_and_id(run, engine)
    view = found.ledger.read(lambda connection: load_view(connection, run_id))
    intent = _checked(view, request)
    refused = Preview(verb=request.verb, run_id=run_id, state=view.run.state, version=view.version, is_safe=False)
    if isinstance(intent, Refusal):
        return replace(refused, refusal=intent)
    return replace(
        refused,
        leads_to=intent.leads_to,
        tasks=intent.tasks,
        notes=intent.notes,
        is_safe=intent.is_safe,
    )


def act(
    run: RunHandle | str,
    request: Request,
    *,
    actor: str,
    reason: str,
    expecting: str | None = None,
    engine: Engine | None = None,
) -> ActionDone:
    """Do what a person asks for: one transaction, then the messages.

    Args:
        run: a handle, or a run's id.
        request: what is asked for.
        actor: who asks, 1 to 200 characters; kept in every entry.
        reason: why, 1 to 2,000 characters; kept in every entry, without the values of sensitive fields.
        expecting: the `version` of the preview that the person saw; `None`: whatever the run is like now.
        engine: whose ledger it is; `None`: the current Celery app's.

    Raises:
        UnknownRun: the ledger has no such run.
        ActionRefused: it cannot be done about this run as it is; nothing was written.
        StateChanged: the run is not what the preview showed, or a worker is just taking it up; nothing was written.
    """
    found, run_id = engine_and_id(run, engine)
    _require(request, run_id, actor=actor, reason=reason)

    def once() -> tuple[Written, Intent]:
        with found.ledger.transaction() as connection:
            if not take_run(connection, run_id):
                raise UnknownRun(run_id=run_id)
            view = load_view(connection, run_id)
            _expect(connection, request, view, expecting)
            intent = _checked(view, request)
            if isinstance(intent, Refusal):
                hide = secrets_of(connection, view.run, view.plan).hide
                why, remedy = hide(intent.why), hide(intent.remedy)
                raise ActionRefused(verb=request.verb.value, run_id=run_id, why=why, remedy=remedy)
            _hold_off_workers(connection, request, view)
            why = _hide_secrets(connection, view, intent, reason)
            return write(connection, found.settings, view, intent, actor=actor, reason=why), intent

    stood_at = found.position_of(run_id)
    written, intent = found.ledger.repeat(once)
    sent = [*map(found.send, written.steps), found.send_compensations(written.compensations)]
    # The others tell what they do to the run at the same time.
    found.announce(run_id, after_id=stood_at, actors=(actor,))
    return ActionDone(
        verb=request.verb,
        run_id=run_id,
        state=written.state,
        tasks=intent.tasks,
        notes=intent.notes,
        is_sent=all(sent),
    )


def load_view(connection: LedgerConnection, run_id: RunId) -> RunView:
    """Return a run as a person sees it when they decide.

    Raises:
        UnknownRun: the ledger has no such run.
    """
    run = queries.find_run(connection, run_id)
    if run is None:
        raise UnknownRun(run_id=run_id)
    return RunView(
        plan=Plan.from_json(queries.load_plan(connection, run_id)),
        run=run,
        steps=tuple(queries.list_steps(connection, run_id)),
        reviews=tuple(queries.list_reviews(connection, run_id, open_only=True)),
        is_rollback_open=queries.is_rollback_open(connection, run_id),
        alive_until=due.alive_until(connection, run_id),
        now=queries.read_clock(connection),
    )


def engine_and_id(run: RunHandle | str, engine: Engine | None) -> tuple[Engine, RunId]:
    """Return where a run is recorded, and its id."""
    if isinstance(run, RunHandle):
        return engine or run.engine, run.id
    return engine or current_engine(), RunId(str(run))


def _require(request: Request, run_id: RunId, *, actor: str, reason: str) -> None:
    for name, text, longest in (("actor", actor, LONGEST_ACTOR), ("reason", reason, LONGEST_REASON)):
        if not isinstance(text, str) or not text.strip() or len(text) > longest or "\x00" in text:
            raise ActionRefused(
                verb=request.verb.value,
                run_id=run_id,
                why=f"the {name} must be text of 1 to {longest:,} characters, not {text!r:.40}",
                remedy="Whoever reads the entries later must be able to ask.",
            )


def _expect(connection: LedgerConnection, request: Request, view: RunView, expecting: str | None) -> None:
    if expecting is None or expecting == view.version:
        return
    raise StateChanged(
        verb=request.verb.value,
        run_id=view.run.id,
        expected="what the preview showed",
        found=f"{view.run.state.value} ({view.run.operator_state})",
        by=_say_last(connection, view.run.id),
    )


def _say_last(connection: LedgerConnection, run_id: RunId) -> str:
    last = queries.last_entry(connection, run_id)
    return f"last: {last.event.value} by {last.actor} at {last.at:%H:%M:%S} UTC" if last is not None else ""


def _hold_off_workers(connection: LedgerConnection, request: Request, view: RunView) -> None:
    """Lock what a worker could claim; one that is just doing so comes first."""
    seen = {step.key for step in view.steps if step.state in _CLAIMABLE}
    missed = seen - take_claimable_steps(connection, view.run.id)
    if missed:
        names = ", ".join(sorted({step.step for step in view.steps if step.key in missed}))
        raise StateChanged(
            verb=request.verb.value,
            run_id=view.run.id,
            expected=f"{names} waiting",
            found="just being taken up by a worker",
            by="",
        )


def _hide_secrets(connection: LedgerConnection, view: RunView, intent: Intent, reason: str) -> str:
    """Return a reason without sensitive values: entries go on into signals, logs and other people's programs."""
    typed = (replace(move.row, output=move.output) for move in intent.moves if isinstance(move, Settle))
    return secrets_of(connection, view.run, view.plan, more=typed).hide(reason)


def _checked(view: RunView, request: Request) -> Intent | Refusal:
    """Return the decision, with the output that a person gives checked against the type of its step."""
    intent = decide(view, request)
    if isinstance(intent, Refusal) or request.decision is not ReviewDecision.DONE:
        return intent
    settled = next((m for m in intent.moves if isinstance(m, Settle) and _needs_output(m)), None)
    if settled is None:
        return intent
    function = find_function(view.plan.steps[settled.row.position].task)
    if function is None:
        note = f"This process does not define {settled.row.step}: the output is recorded as it is given, unchecked."
        return replace(intent, notes=(*intent.notes, note))
    try:
        checked = to_json(function.schema.output_type, request.output)
    except Unserialisable as error:
        return Refusal(
            why=f"the output does not fit what {settled.row.step} returns: {error}",
            remedy="Give what the step would have returned, as JSON.",
        )
    return _with_output(view, intent, settled, checked)


def _needs_output(move: Settle) -> bool:
    return move.row.direction is Direction.FORWARD or (
        isinstance(move.output, dict) and "output" in move.output and move.row.direction is Direction.RECONCILE
    )


def _with_output(view: RunView, intent: Intent, settled: Settle, output: JsonValue) -> Intent:
    stored: Any = output
    if settled.row.direction is Direction.RECONCILE:
        stored = {"answer": "done", "output": output}
    is_last = settled.row.direction is Direction.FORWARD and settled.row.position == len(view.plan.steps) - 1

    def checked(move: Move) -> Move:
        if move is settled:
            return replace(settled, output=stored)
        return replace(move, output=output) if is_last and isinstance(move, SucceedRun) else move

    return replace(intent, moves=tuple(map(checked, intent.moves)))

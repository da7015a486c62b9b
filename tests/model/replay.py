"""Walk the same way on a real ledger, through the engine's own functions, and compare what both have recorded."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from celery import Celery

from backout.identifiers import RunId, TaskId, new_claim_token, new_run_id
from backout.ledger import due, queries, transitions
from backout.ledger.due import DueStep
from backout.ledger.records import Claim, StepKey, StepRecord
from backout.ledger.transitions import NewRun
from backout.pipelines.message import StepMessage
from backout.pipelines.words import all_operator_states
from backout.settings import Settings
from backout.states import Direction, StepState
from backout.tasks.advance import advance
from backout.tasks.attempt import Attempt
from backout.tasks.attempt import Recorded as RealRecorded
from backout.tasks.process import this_process
from backout.tasks.record import record
from backout.tasks.repair import Repair, repair
from backout.tasks.runtime import Runtime
from backout.tasks.situation import situation_of
from tests.model.mirror import Recorded
from tests.model.model import LOST_ATTEMPTS_LIMIT, Model, ending_of
from tests.model.move import Edge, Move, What
from tests.model.world import Key, Links, Row, World
from tests.support.ledgers import LONG_AGO, read_run, read_step, set_step

Told = tuple[tuple[Key, str, object], ...]
_QUIET: Final = frozenset({What.LOSE, What.DUPLICATE, What.AFFECT, What.ANSWER, What.CRASH, What.RUN_LATE})
"""What the ledger does not notice."""


def make_runtime(model: Model, database_url: str) -> Runtime:
    """Return what the engine's functions need, with the limits of a model."""
    settings = Settings(
        database_url=database_url,
        lost_attempts_limit=LOST_ATTEMPTS_LIMIT,
        chain_links=model.chain_links,
    )
    return Runtime(Celery("model", set_as_current=False), settings)


class Replay:
    """A run in a real ledger that takes the moves of a modelled one."""

    def __init__(self, model: Model, runtime: Runtime) -> None:
        self._model, self._runtime, self._ledger = model, runtime, runtime.ledger
        self._claims: dict[tuple[Key, tuple[int, int]], Claim] = {}
        self._operator_states = frozenset(all_operator_states(model.plan))
        self.id: RunId = new_run_id()
        first = model.plan.steps[0]
        new = NewRun(
            id=self.id,
            pipeline=model.plan.pipeline,
            definition_digest=model.plan.digest,
            plan=model.plan.as_json,
            source_event_id=None,
            subject_id=None,
            operator_state=first.pending,
            input={},
            first_step=first.name,
            idempotency_key=f"{self.id}:{first.name}",
            task_id=TaskId(self.id),
            actor="tests",
        )
        with self._ledger.transaction() as connection:
            assert transitions.create_run(connection, new, resend_seconds=60)

    def take(self, before: World, edge: Edge) -> None:
        """Make a move, and fail unless the real ledger says what the model says."""
        move = edge.move
        if move.what in _QUIET:
            return
        sent = self._make(before, edge)
        if edge.sent is not None or sent is not None:
            assert sent == edge.sent, f"{move}: sent {sent}, expected {edge.sent}"
        assert self._told() == _told_by(edge.world), str(move)

    def _make(self, before: World, edge: Edge) -> Recorded | None:
        move = edge.move
        match move.what:
            case What.DELIVER:
                self._claim(move)
            case What.END | What.END_AND_DIE | What.END_SEND_AND_DIE | What.CUT_OFF:
                return self._end(before, move)
            case What.REFUSE:
                self._refuse(move)
            case What.RETRY_DUE:
                set_step(self._ledger, self._key(move.key), next_retry_at=LONG_AGO)
            case What.TIME_UP:
                set_step(self._ledger, self._key(move.key), may_run_until=LONG_AGO)
            case What.NOTICE | What.EXPIRE_DEAD:
                # The number of this process, with another start: such a process is certainly gone.
                set_step(self._ledger, self._key(move.key), claimed_by=f"{this_process()}0")
                return self._repair(move.key)
            case What.ASK_DEFINITION:
                set_step(self._ledger, self._key(move.key), sends=6)
                self._repair(move.key)
            case _:
                return self._repair(move.key)
        return None

    def _claim(self, move: Move) -> None:
        with self._ledger.change() as connection:
            claim = transitions.claim_step(
                connection,
                self._key(move.key),
                token=new_claim_token(),
                lease_seconds=60,
                worker="worker-1",
                attempt=move.token[1] if move.token else 1,
            )
        assert (claim is None) == (move.token is None), str(move)
        if claim is not None and move.token is not None:
            self._claims[move.key, move.token] = claim

    def _end(self, before: World, move: Move) -> Recorded | None:
        assert move.token is not None
        claim = self._claims[move.key, move.token]
        attempt = Attempt(claim=claim, plan=self._model.plan, doubted_attempts=self._doubted(move.key))
        ending = ending_of(before, move.key, move.result, move.answer)
        situation = situation_of(self._runtime, attempt)
        is_held = before.is_held(
            next(one for one in before.deliveries if (one.key, one.token) == (move.key, move.token))
        )
        if is_held:
            # What the engine read when it claimed is what the model reads now.
            expected = replace(self._model.situation_of(ending), run_id=self.id)
            assert situation == expected, str(move)
        recorded = record(self._runtime, attempt, advance(situation, self._model.outcome_of(ending)))
        assert (recorded is not None) == is_held, str(move)
        return _links_of(recorded) if recorded is not None else None

    def _doubted(self, key: Key) -> int:
        if key[1] is not Direction.RECONCILE:
            return 0
        return read_step(self._ledger, self._key((key[0], Direction.FORWARD))).lost_attempts

    def _refuse(self, move: Move) -> None:
        assert move.token is not None
        claim = self._claims[move.key, move.token]
        with self._ledger.change() as connection:
            assert transitions.release_uncalled(
                connection, claim, reason="this worker cannot run the step", actor="old worker", sweep_seconds=60
            )

    def _repair(self, key: Key) -> Recorded | None:
        real = self._key(key)
        row = read_step(self._ledger, real)
        # The model tells messages apart by their row only: it does not count how often one was sent.
        sends = row.sends if row.sends >= 6 else 1
        set_step(self._ledger, real, sweep_at=LONG_AGO, sends=sends)
        with self._ledger.transaction() as connection:
            due_row = self._due(due.take_due_steps(connection, limit=100), real)
            done = repair(connection, self._runtime, due_row, actor="sweeper")
        return _links_of(done) if done is not None else None

    @staticmethod
    def _due(rows: list[DueStep], key: StepKey) -> DueStep:
        return next(row for row in rows if row.key == key)

    def _key(self, key: Key) -> StepKey:
        return StepKey(run_id=self.id, round=1, position=key[0], direction=key[1])

    def _told(self) -> Told:
        run = read_run(self._ledger, self.id)
        # A message for customers can be given for each state that a run gets into.
        assert run.operator_state in self._operator_states, run.operator_state
        last = run.last_successful_step
        facts = (run.state, None if last is None else self._model.plan.position_of(last), run.rollback_outcome)
        rows = self._ledger.read(lambda connection: queries.list_steps(connection, self.id))
        told = sorted(((row.position, row.direction), row.state.value, self._facts_of(row)) for row in rows)
        return (((-1, Direction.FORWARD), "run", facts), *told)

    @staticmethod
    def _facts_of(row: StepRecord) -> object:
        is_answered = row.direction.is_question and row.state is StepState.SUCCEEDED
        answer = row.output["answer"] if is_answered and isinstance(row.output, dict) else None
        error = row.error or {}
        no_effect = row.state is StepState.FAILED and bool(error.get("no_effect"))
        is_alive = row.may_run_until is not None and row.may_run_until != LONG_AGO
        may_run = is_alive and row.direction is Direction.FORWARD
        return (
            row.attempt,
            row.lost_attempts,
            row.start_order,
            answer,
            no_effect,
            row.output is not None,
            may_run,
            row.sweep_at is not None,
        )


def _told_by(world: World) -> Told:
    facts = (world.run.state, world.run.last_done, world.run.outcome)
    told = sorted((row.key, row.state.value, _facts_of(row)) for row in world.rows)
    return (((-1, Direction.FORWARD), "run", facts), *told)


def _facts_of(row: Row) -> object:
    is_answered = row.direction.is_question and row.state is StepState.SUCCEEDED
    no_effect = row.state is StepState.FAILED and row.no_effect
    return (
        row.attempt,
        row.lost_attempts,
        row.start_order,
        row.answer.value if is_answered and row.answer else None,
        no_effect,
        row.has_output,
        row.may_run,
        row.is_swept,
    )


def _links_of(done: RealRecorded | Repair) -> Recorded:
    chain = _keys_of(done.compensations)
    return Recorded(steps=tuple(_keys_of((message,)) for message in done.steps), chain=chain)


def _keys_of(messages: tuple[StepMessage, ...]) -> Links:
    return tuple((message.key.position, message.key.direction) for message in messages)

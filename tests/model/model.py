"""What is explored: a pipeline, its faults, and the engine's own decisions about it, each computed once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from backout.compensations.plan import RollbackPlan, plan_rollback
from backout.errors import AskHuman, FailStep, ParkRun, SkipStep, StepTimedOut
from backout.identifiers import RunId
from backout.jsontext import JsonValue
from backout.ledger.records import StepRecord
from backout.pipelines.contract import Plan, RecoveryKind
from backout.pipelines.message import direction_contract
from backout.states import Answer, Direction, ReviewReason, RunState, StepState
from backout.tasks.advance import Situation, advance
from backout.tasks.decisions import Decision
from backout.tasks.outcome import Answered, ErrorFacts, Failed, Lost, Outcome, Succeeded, classify
from tests.model.pipelines import ModelStep, Result, steps_of
from tests.model.world import Book, Budget, Key, Row, Run, World
from tests.support.records import step_record

OUTPUT: Final[JsonValue] = {"ok": True}
LOST_ATTEMPTS_LIMIT: Final = 2


RUN: Final = RunId("run")
"""The model has one run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How an attempt ended, with what its decision depends on.

    Attributes:
        result: of the function; `None`: it was lost.
        doubted: attempts of the step in doubt that ended without an answer.
    """

    key: Key
    result: Result | None
    answer: Answer | None
    attempt: int
    lost_attempts: int
    last_done: int | None
    doubted: int
    is_rolling_back: bool


@dataclass(kw_only=True, eq=False)
class Model:
    """A pipeline and what may go wrong with it.

    Attributes:
        has_deadline: the run has a deadline, which may pass at any time.
        chain_links: the most compensations in one chain.
        ends_calls_in_time: an attempt that has not called its function when its time is up does not call it any more.
        keeps_moot: keep what makes no difference, see `moot`: broken on purpose, it may make one.
    """

    name: str
    pipeline: tuple[ModelStep, ...]
    budget: Budget
    has_deadline: bool = False
    chain_links: int = 50
    ends_calls_in_time: bool = True
    keeps_moot: bool = False
    plan: Plan = field(init=False)
    _decisions: dict[Ending, Decision] = field(default_factory=dict, init=False)
    _rollbacks: dict[tuple[Row, ...], RollbackPlan] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        """Make the plan."""
        self.plan = steps_of(self.pipeline)

    def first_world(self) -> World:
        """Return the world after the enqueue: the first step is ready, its message is sent."""
        key = (0, Direction.FORWARD)
        return World(
            run=Run(),
            rows=(Row(key=key, state=StepState.READY, start_order=1, is_swept=True),),
            messages=((key,),),
            deliveries=(),
            books=tuple(Book() for _ in self.pipeline),
            budget=self.budget,
        )

    def has_effect(self, key: Key) -> bool:
        """Return whether what a row runs changes the world outside."""
        return not key[1].is_question and self.plan.steps[key[0]].recovery is not RecoveryKind.NOTHING_TO_UNDO

    def is_idempotent(self, key: Key) -> bool:
        """Return whether the contract lets a row run again without a second effect."""
        return direction_contract(self.plan.steps[key[0]], key[1]).idempotent

    def decide(self, ending: Ending) -> Decision:
        """Return what the engine decides about the end of an attempt."""
        decision = self._decisions.get(ending)
        if decision is None:
            decision = advance(self.situation_of(ending), self.outcome_of(ending))
            self._decisions[ending] = decision
        return decision

    def situation_of(self, ending: Ending) -> Situation:
        """Return where the attempt stands."""
        steps = self.plan.steps
        return Situation(
            run_id=RUN,
            plan=self.plan,
            position=ending.key[0],
            direction=ending.key[1],
            last_done=None if ending.last_done is None else steps[ending.last_done],
            is_idempotent=self.is_idempotent(ending.key),
            lost_attempts=ending.lost_attempts,
            lost_attempts_limit=LOST_ATTEMPTS_LIMIT,
            doubted_attempts=ending.doubted,
            is_rolling_back=ending.is_rolling_back,
        )

    def outcome_of(self, ending: Ending) -> Outcome:
        """Return how the engine names the end of the function."""
        step = self.plan.steps[ending.key[0]]
        match ending.result:
            case None:
                return Lost(reason="its worker no longer answers")
            case Result.CUT_OFF:
                return Lost(reason="a shutdown cut it off")
            case Result.OK:
                return Succeeded(output=OUTPUT)
            case Result.ANSWER | Result.UNKNOWN:
                answer = ending.answer or Answer.UNKNOWN
                is_done = answer is Answer.DONE and ending.key[1] is Direction.RECONCILE
                return Answered(answer=answer, output=OUTPUT if is_done else None)
            case Result.LATE:
                # As `calling._refuse_late`.
                facts = ErrorFacts(type="backout.RunDeadlinePassed", message="too late")
                return Failed(error=facts, no_effect=ending.attempt == 1)
            case _:
                contract = direction_contract(step, ending.key[1])
                return classify(
                    _error_of(ending.result, step.name),
                    retry=contract.retry,
                    is_idempotent=contract.idempotent,
                    failed_attempts=ending.attempt - ending.lost_attempts,
                    chance=0.5,
                )

    def plan_back(self, rows: tuple[Row, ...]) -> RollbackPlan:
        """Return what the engine plans to undo."""
        found = self._rollbacks.get(rows)
        if found is None:
            found = plan_rollback(self.plan, [self._record_of(row) for row in rows])
            self._rollbacks[rows] = found
        return found

    def _record_of(self, row: Row) -> StepRecord:
        error = {"type": "builtins.OSError", "message": "broken"} if row.state is StepState.FAILED else None
        return step_record(
            self.plan.steps[row.position].name,
            row.position,
            row.state,
            direction=row.direction,
            attempt=row.attempt,
            lost_attempts=row.lost_attempts,
            start_order=row.start_order,
            output=OUTPUT if row.has_output else None,
            error={**error, "no_effect": True} if error is not None and row.no_effect else error,
        )


def ending_of(world: World, key: Key, result: Result | None, answer: Answer | None = None) -> Ending:
    """Return the end of the attempt that holds the claim on a row.

    The engine decides on what it read when it claimed. Nobody but the holder changes any of that while the claim holds,
    so it is read here from the rows as they are; the conformance test compares the two.
    """
    row = world.row(key)
    assert row is not None
    forward = world.row((key[0], Direction.FORWARD))
    is_reconcile = key[1] is Direction.RECONCILE and forward is not None and result is not None
    return Ending(
        key=key,
        result=result,
        answer=answer,
        attempt=row.attempt,
        lost_attempts=row.lost_attempts,
        last_done=world.run.last_done,
        doubted=forward.lost_attempts if is_reconcile and forward is not None else 0,
        is_rolling_back=world.run.state is RunState.ROLLING_BACK,
    )


def _error_of(result: Result, step: str) -> Exception:
    match result:
        case Result.RETRY:
            return ConnectionError("refused")
        case Result.FINAL:
            return FailStep("declined")
        case Result.NO_EFFECT:
            return FailStep("no such card", no_effect=True)
        case Result.SKIP:
            return SkipStep("nothing to do")
        case Result.TIMEOUT:
            return StepTimedOut(step=step, timeout_seconds=1.0)
        case Result.PARK:
            return ParkRun("later")
        case Result.HUMAN:
            return AskHuman(ReviewReason.SYSTEMS_DISAGREE, "please look")
        case _:
            message = f"no error is called {result}"
            raise LookupError(message)

"""Random walks in which workers, crashes and a person act on one run, and a bank that knows what really happened.

The person tells the truth: asked whether something has happened, they look into the bank's books. Whatever else they do
is anything that `next_safe_actions` calls possible, at any moment, also while an attempt runs.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import backout
from backout import (
    ActionRefused,
    FailStep,
    NotDone,
    ParkRun,
    Pipeline,
    Request,
    Retry,
    ReviewDecision,
    RollbackOutcome,
    RunHandle,
    RunState,
    StateChanged,
    StepState,
    Verb,
    act,
    next_safe_actions,
    step,
)
from backout.faultpoints import SimulatedDeath
from backout.ledger.records import StepRecord
from backout.states import Direction
from backout.testing import Scratch

ONCE = Retry(limit=1, delay=0.01, jitter=0)
MOVES = 12
ENDINGS = ("ok", "ok", "ok", "ok", "fail", "fail before", "die before", "die after", "park", "person")


@dataclass
class Bank:
    """What really happened, by idempotency key.

    Attributes:
        effects: how often an effect was had under a key.
        calm: nothing goes wrong any more.
        person: what a person does in the middle of an attempt.
    """

    chance: random.Random
    effects: Counter[str] = field(default_factory=Counter)
    calm: bool = False
    person: Callable[[], None] = lambda: None

    def have_effect(self, key: str) -> str:
        """Have an effect, or fail, or die before or after it."""
        ending = "ok" if self.calm else self.chance.choice(ENDINGS)
        if ending == "fail before":
            raise FailStep("refused before anything happened", no_effect=True)
        if ending == "fail":
            raise RuntimeError("no answer")
        if ending == "park":
            raise ParkRun("closed")
        if ending == "die before":
            raise SimulatedDeath
        if ending == "person":
            self.person()
        if ":walk_read" not in key:
            self.effects[key] += 1
        if ending == "die after":
            raise SimulatedDeath
        return key

    def has(self, key: str) -> bool:
        """Say whether it happened: the truth."""
        return self.effects[key] > 0


BANK: list[Bank] = []
"""The bank of the walk that is under way; the steps below are defined once."""


def make(name: str, *, undo: bool = True, find: bool = False, **contract: Any) -> Any:
    """Return a step of the bank."""

    def run(value: str, ctx: Any) -> str:
        if contract.get("idempotent") and BANK[-1].has(ctx.idempotency_key):
            # The provider knows the key: no second effect.
            return str(ctx.idempotency_key)
        return BANK[-1].have_effect(ctx.idempotency_key)

    made: Any = step(name=f"walk_{name}", retry=ONCE, **contract)(run)
    if undo:

        def run_back(value: str, output: str | None, ctx: Any) -> None:
            if BANK[-1].has(ctx.undoes.idempotency_key):
                BANK[-1].have_effect(ctx.idempotency_key)

        made.compensation(name=f"unwalk_{name}", action=f"undo {name}", retry=ONCE)(run_back)
    if find:

        def look(value: str, ctx: Any) -> str | NotDone:
            return str(ctx.idempotency_key) if BANK[-1].has(ctx.idempotency_key) else NotDone()

        made.reconcile(name=f"find_walk_{name}", retry=ONCE)(look)
    return made


PIPELINE = Pipeline(
    "walked",
    [
        make("plain"),
        make("read", undo=False, effect="read"),
        make("asked", find=True),
        make("safe", idempotent=True, on_failure="park"),
        make("kept", undo=False, keep="it does no harm", on_failure="review"),
        make("last", on_failure="continue"),
    ],
)


@dataclass
class Walk:
    """One run, and the person who looks after it."""

    scratch: Scratch
    handle: RunHandle
    chance: random.Random
    bank: Bank
    story: list[str] = field(default_factory=list)

    def act_somehow(self) -> None:
        """Do one of the things that are called possible."""
        possible = [action.request for action in next_safe_actions(self.handle) if action.is_possible]
        wanted = [request for request in possible if self._is_truthful(request)]
        if wanted:
            self.ask(self.chance.choice(wanted))

    def ask(self, request: Request) -> bool:
        """Ask for something; False when it was refused."""
        try:
            act(self.handle, self._with_output(request), actor="ada", reason="a walk")
        except (ActionRefused, StateChanged) as refused:
            self.story.append(f"{request.verb} refused: {refused}")
            return False
        self.story.append(f"{request.verb} {request.decision or ''} {request.step or ''}")
        return True

    def _is_truthful(self, request: Request) -> bool:
        """A person says only what the books say, and undoes nothing twice."""
        if request.verb is Verb.RERUN_COMPENSATION:
            undos = [s for s in self.handle.steps() if s.step == request.step and s.direction is Direction.COMPENSATION]
            return not self.bank.has(undos[-1].idempotency_key)
        if request.verb is not Verb.RESOLVE:
            return True
        row = self._row_of(request)
        if request.decision is ReviewDecision.ACCEPT:
            # An undo that has happened is not left as if it had not.
            is_undo = row is not None and row.direction is Direction.COMPENSATION
            return row is None or not is_undo or not self.bank.has(row.idempotency_key)
        if row is None:
            return False
        return self.bank.has(row.idempotency_key) is (request.decision is ReviewDecision.DONE)

    def _row_of(self, request: Request) -> StepRecord | None:
        review = next(one for one in self.scratch.reviews(self.handle) if one.id == request.review_id)
        place = (review.round, review.position, review.direction)
        return next((s for s in self.handle.steps() if (s.round, s.position, s.direction) == place), None)

    def _with_output(self, request: Request) -> Request:
        if request.decision is not ReviewDecision.DONE:
            return request
        row = self._row_of(request)
        return Request(
            verb=request.verb,
            review_id=request.review_id,
            decision=request.decision,
            output=row.idempotency_key if row is not None else None,
        )

    def bring_to_an_end(self) -> None:
        """Let nothing go wrong any more, and do what a person would do until the run is final."""
        self.bank.calm = True
        for _ in range(30):
            self.scratch.settle()
            if self.handle.status().state.is_final:
                return
            if not any(self._try(verb) for verb in (Verb.RESOLVE, Verb.CONTINUE_ROLLBACK, Verb.RESUME, Verb.ROLLBACK)):
                break
        raise AssertionError("nobody can bring the run to an end:\n" + "\n".join(self.story))

    def _try(self, verb: Verb) -> bool:
        possible = [a.request for a in next_safe_actions(self.handle) if a.is_possible and a.request.verb is verb]
        wanted = [request for request in possible if self._is_truthful(request)]
        # What the books say comes before what merely ends it.
        wanted.sort(key=lambda request: request.decision is ReviewDecision.ACCEPT)
        return bool(wanted) and self.ask(wanted[0])

    def standing(self) -> dict[str, int]:
        """Return, by step, how many of its effects exist and were not taken back."""
        rows = [s for s in self.handle.steps() if s.direction is Direction.FORWARD]
        keys = {(row.step, row.idempotency_key) for row in rows}
        stand: Counter[str] = Counter()
        for name, key in keys:
            stand[name] += self.bank.effects[key] - self.bank.effects[f"{key}:undo"]
        return dict(stand)


def walk(folder: Path, seed: int) -> Walk:
    """Walk at random, then bring the run to its end; return what became of it."""
    chance = random.Random(seed)
    bank = Bank(chance=chance)
    BANK[:] = [bank]
    with Scratch(folder) as scratch:
        handle = PIPELINE.enqueue("value")
        made = Walk(scratch=scratch, handle=handle, chance=chance, bank=bank)
        bank.person = made.act_somehow
        for _ in range(MOVES):
            if chance.random() < 0.5:
                made.act_somehow()
            scratch.settle()
            made.story.append(f"→ {handle.status().state} {handle.status().operator_state}")
        made.bring_to_an_end()
        judge(made)
    return made


def judge(made: Walk) -> None:
    """Fail unless the ledger tells the truth about the bank, and nothing was done twice."""
    run, rows, story = made.handle.status(), made.handle.steps(), "\n".join(made.story)
    doubled = {key: times for key, times in made.bank.effects.items() if times > 1}
    assert not doubled, f"done twice: {doubled}\n{story}"
    left = [row for row in rows if row.state in (StepState.READY, StepState.RUNNING, StepState.RETRY_SCHEDULED)]
    assert not left, f"still due in a run that is {run.state}: {left}\n{story}"
    reviews = made.scratch.reviews(made.handle)
    assert run.requires_human_review is bool(reviews), story
    standing = made.standing()
    if run.state is RunState.SUCCEEDED:
        assert max(standing.values()) <= 1, f"stands twice: {standing}\n{story}"
        gone = [row.step for row in newest(rows) if row.state is StepState.SUCCEEDED and standing[row.step] != 1]
        assert not gone, f"recorded as done, and not there: {gone}\n{story}"
    if run.state is RunState.ROLLED_BACK and run.rollback_outcome is RollbackOutcome.COMPLETE:
        there = [name for name, times in standing.items() if times and name not in ("walk_kept", "walk_read")]
        assert not there, f"recorded as undone, and still there: {there}\n{story}"
    assert backout.next_safe_actions(made.handle), story


def newest(rows: list[StepRecord]) -> list[StepRecord]:
    """Return the forward row of each step's last round, of steps that have effects."""
    last: dict[str, StepRecord] = {}
    for row in rows:
        if row.direction is Direction.FORWARD and row.step != "walk_read":
            last[row.step] = row
    return list(last.values())

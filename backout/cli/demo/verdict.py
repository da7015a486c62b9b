"""Whether the ledger and the books of the outside world tell the same story. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from backout.cli.demo.books import Effect, Request
from backout.cli.demo.orders import Order
from backout.cli.demo.worker import Killed
from backout.events import Event
from backout.ledger.records import EntryRecord
from backout.states import Direction, RollbackOutcome, RunState, StepState
from backout.views.picture import RunPicture

FORWARD_DEEDS: Final = ("reserve", "charge", "book", "send")
"""What each step asks outside, in the order of the pipeline."""
STEPS: Final = ("reserve_stock", "charge_card", "book_courier", "send_receipt")
UNDONE_DEEDS: Final = ("reserve", "charge", "refund", "release")
"""What happens outside for an order that no courier takes, in that order."""
UNDONE_STEPS: Final = ("charge_card", "reserve_stock")
"""The rollback, in its order; the courier's step failed, and may have booked something all the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One claim about an order.

    Attributes:
        claim: what should be so, in words.
        found: what is so.
    """

    order_id: str
    claim: str
    expected: object
    found: object

    @property
    def holds(self) -> bool:
        """True when it is as it should be."""
        return self.expected == self.found


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What is known about an order when its act is over: the ledger's side, and the books'.

    Attributes:
        killed: what was killed while the bank was being asked; `None` where nothing was.
    """

    order: Order
    picture: RunPicture
    effects: Sequence[Effect]
    requests: Sequence[Request]
    killed: Killed | None


def judge(evidence: Evidence) -> list[Check]:
    """Compare ledger, books and what the order should lead to."""
    checks = _judge_delivered(evidence) if evidence.order.is_deliverable else _judge_undone(evidence)
    checks += _judge_numbers(evidence)
    if evidence.killed is not None:
        checks += _judge_killed(evidence, evidence.killed)
    return checks


def judge_refused(order_id: str, *, runs: int, effects: Sequence[Effect], requests: Sequence[Request]) -> list[Check]:
    """Compare ledger and books about an order that was refused: neither has heard of it."""
    return [
        Check(order_id=order_id, claim="the ledger has no run of a refused order", expected=0, found=runs),
        Check(order_id=order_id, claim="nobody outside was asked", expected=0, found=len(requests)),
        Check(order_id=order_id, claim="nothing happened outside", expected=0, found=len(effects)),
    ]


def _judge_delivered(evidence: Evidence) -> list[Check]:
    order, run = evidence.order, evidence.picture.run
    done = [row.step for row in evidence.picture.steps if row.direction is Direction.FORWARD]
    return [
        _check(order, "the ledger says that the run succeeded", RunState.SUCCEEDED.value, run.state.value),
        _check(order, "the ledger has each step once, in order", STEPS, tuple(done)),
        _check(order, "each deed is in the books once, in order", FORWARD_DEEDS, _deeds(evidence)),
        _check(order, "the bank has the money of the order", order.total_cents, _sum(evidence, "bank")),
        _check(order, "the warehouse has set the pieces aside", order.pieces, _sum(evidence, "warehouse")),
    ]


def _judge_undone(evidence: Evidence) -> list[Check]:
    order, run = evidence.order, evidence.picture.run
    rows = evidence.picture.latest(Direction.COMPENSATION)
    undone = sorted((row.started_at, row.step) for row in rows if row.started_at is not None)
    left_out = tuple(row.step for row in rows if row.state is StepState.SKIPPED)
    return [
        _check(order, "the ledger says that the run was rolled back", RunState.ROLLED_BACK.value, run.state.value),
        _check(order, "the rollback is complete", RollbackOutcome.COMPLETE.value, run.rollback_outcome.value),
        _check(order, "steps were undone in reverse", UNDONE_STEPS, tuple(step for _, step in undone)),
        _check(order, "the courier was asked, and had nothing to cancel", ("book_courier",), left_out),
        _check(order, "each deed and its undoing is in the books once", UNDONE_DEEDS, _deeds(evidence)),
        _check(order, "the bank has given the money back", 0, _sum(evidence, "bank")),
        _check(order, "the warehouse has put the pieces back", 0, _sum(evidence, "warehouse")),
        _check(order, "no van is booked", 0, _sum(evidence, "courier")),
    ]


def _judge_numbers(evidence: Evidence) -> list[Check]:
    """Each number that the ledger recorded is that of an effect in the books, and the other way round."""
    recorded = sorted(number for row in evidence.picture.steps for number in row.external_ids.values())
    booked = sorted(effect.number for effect in evidence.effects)
    return [_check(evidence.order, "ledger and books have the same numbers", booked, recorded)]


def _judge_killed(evidence: Evidence, killed: Killed) -> list[Check]:
    order = evidence.order
    attempts = attempts_of(evidence.picture, "charge_card")
    first, last = attempts[0].actor, attempts[-1].actor
    asked = [request for request in evidence.requests if request.deed == "charge"]
    charged = [effect for effect in evidence.effects if effect.deed == "charge"]
    released = [entry for entry in evidence.picture.entries if entry.event is Event.CLAIM_RELEASED]
    return [
        _check(order, "the first attempt ran in a process that was killed", True, _ran_in(first, killed)),
        _check(order, "SIGKILL ended the worker", -9, killed.exit_code),
        _check(order, "the last attempt ran elsewhere", False, _ran_in(last, killed)),
        _check(order, "the claim was taken from the dead worker once", 1, len(released)),
        _check(order, "the bank was asked by each attempt", len(attempts), len(asked)),
        _check(order, "the bank's first answer reached nobody", None, asked[0].answered_at if asked else "not asked"),
        _check(order, "the card was charged once", 1, len(charged)),
    ]


def attempts_of(picture: RunPicture, step: str) -> list[EntryRecord]:
    """Return the entries of the attempts of a forward step, in order."""
    return [
        entry
        for entry in picture.entries
        if entry.event is Event.ATTEMPT_STARTED and entry.step == step and entry.direction is Direction.FORWARD
    ]


def _ran_in(actor: str, killed: Killed) -> bool:
    """Return whether an entry's actor (`worker1@demo/4711`) is one of the killed processes."""
    name, _, process_id = actor.partition("/")
    return name == killed.name and process_id.isdigit() and int(process_id) in killed.process_ids


def _deeds(evidence: Evidence) -> tuple[str, ...]:
    return tuple(effect.deed for effect in evidence.effects)


def _sum(evidence: Evidence, partner: str) -> int:
    sums: Counter[str] = Counter()
    for effect in evidence.effects:
        sums[effect.partner] += effect.amount
    return sums[partner]


def _check(order: Order, claim: str, expected: object, found: object) -> Check:
    return Check(order_id=order.id, claim=claim, expected=expected, found=found)

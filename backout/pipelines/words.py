"""The operator's state of a run, built from the words of its steps. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from backout.pipelines.contract import OnFailure, Plan, StepContract


def state_while_running(last_done: StepContract | None, current: StepContract) -> str:
    """Return what holds while a step is due or running, such as `lead_created_enrichment_pending`."""
    return _join(last_done.done if last_done else None, current.pending)


def state_while_verifying(published: StepContract) -> str:
    """Return what holds while what a step has published is not seen live yet, such as `page_published_live_pending`."""
    return _join(published.done, "live_pending")


def state_when_done(last_done: StepContract | None, failed: StepContract | None = None) -> str:
    """Return what holds when the run is closed, such as `booking_reserved_notification_failed`."""
    return _join(last_done.done if last_done else None, failed.failed if failed else None) or "nothing_to_do"


def state_when_stopped(last_done: StepContract | None, current: StepContract, *, how: str) -> str:
    """Return what holds when a person is waited for: `how` is `pending`, `failed`, `in_doubt` or `live_unknown`."""
    word = current.pending if how == "pending" else current.failed if how == "failed" else f"{current.name}_{how}"
    return _join(last_done.done if last_done else None, word)


def state_of_rollback(cause: StepContract | None, *, how: str, is_failed: bool = True) -> str:
    """Return what holds from the turn on: `how` is `rolling_back`, `rolled_back`, `rollback_partial` or the like.

    Args:
        cause: the step that failed; the last one that started, where a person has asked; `None`: none had started.
        how: far it is.
        is_failed: `cause` has failed.
    """
    if cause is None:
        return how
    return _join(cause.failed if is_failed else cause.done, how)


def state_by_hand(last_done: StepContract | None, *, how: str) -> str:
    """Return what holds after a person's decision: `how` is `cancelled`, `closed` or `restart_pending`."""
    return _join(last_done.done if last_done else None, how)


def state_while_undoing(undone: StepContract) -> str:
    """Return what holds on the way back when a step was undone, such as `charge_card_undone_rolling_back`."""
    return f"{undone.name}_undone_rolling_back"


def state_of_stuck_compensation(undone: StepContract, *, how: str) -> str:
    """Return what holds when an undo cannot go on: `how` is `pending`, `failed` or `in_doubt`."""
    return f"{undone.name}_compensation_{how}"


def state_in_review(state: str) -> str:
    """Return what holds when a person is asked, from what held before or holds besides."""
    return f"{state}_in_review"


def all_operator_states(plan: Plan) -> Iterator[str]:
    """Return every operator's state that runs of a plan can have, the usual ones first, none twice.

    A pipeline of n steps has some n² of them: whoever looks for a few stops early.
    """
    yield from dict.fromkeys(_every_state(plan))


def _every_state(plan: Plan) -> Iterator[str]:
    before: tuple[StepContract | None, ...] = (None, *plan.steps[:-1])
    pairs = list(zip(before, plan.steps, strict=True))
    yield from (state_while_running(last_done, step) for last_done, step in pairs)
    yield from _when_closed(plan)
    yield from _on_the_way_back(plan)
    yield from _at_a_halt(pairs)
    # A step may be skipped, or fail and be passed over; on the way back a person may be asked about any step.
    for position, step in enumerate(plan.steps):
        yield from _at_a_halt((last_done, step) for last_done in (None, *plan.steps[:position]))
        yield from (state_while_running(last_done, step) for last_done in (None, *plan.steps[:position]))
        for last_done in plan.steps[position:]:
            yield from (
                state_in_review(state_when_stopped(last_done, step, how=how)) for how in ("in_doubt", "pending")
            )


def _when_closed(plan: Plan) -> Iterator[str]:
    last = plan.steps[-1]
    yield from (state_when_done(step) for step in (*reversed(plan.steps), None))
    if last.on_failure is OnFailure.CONTINUE:
        yield from (state_when_done(step, last) for step in (*reversed(plan.steps[:-1]), None))


def _on_the_way_back(plan: Plan) -> Iterator[str]:
    ends = ("rolled_back", "rollback_partial", "rollback_failed")
    for step in plan.steps:
        moving = [state_of_rollback(step, how="rolling_back")]
        if step.compensation is not None:
            moving.append(state_while_undoing(step))
            stuck = (state_of_stuck_compensation(step, how=how) for how in ("failed", "in_doubt", "pending"))
            yield from (state_in_review(state) for state in stuck)
        for state in moving:
            yield from (state, state_in_review(state))
        yield from (state_of_rollback(step, how=how) for how in ends)
    yield from _by_hand(plan, ("rolling_back", *ends))


def _by_hand(plan: Plan, ways: tuple[str, ...]) -> Iterator[str]:
    for step in (None, *plan.steps):
        yield from (state_of_rollback(step, how=how, is_failed=False) for how in ways)
        yield from (state_by_hand(step, how=how) for how in ("cancelled", "closed", "restart_pending"))


def _at_a_halt(pairs: Iterable[tuple[StepContract | None, StepContract]]) -> Iterator[str]:
    for last_done, step in pairs:
        in_doubt = state_when_stopped(last_done, step, how="in_doubt")
        pending = state_when_stopped(last_done, step, how="pending")
        failed = state_when_stopped(last_done, step, how="failed")
        yield from (pending, in_doubt, *map(state_in_review, (in_doubt, failed, pending)))
        if step.verify is not None:
            unseen = state_while_verifying(step)
            unknown = state_when_stopped(step, step, how="live_unknown")
            yield from (unseen, state_in_review(unseen), state_in_review(unknown))


def _join(*words: str | None) -> str:
    return "_".join(word for word in words if word)

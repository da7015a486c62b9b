"""What happened to a run, in one sentence. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, assert_never

from backout.ledger.records import ReviewRecord, StepRecord
from backout.pipelines.contract import OnFailure
from backout.states import Direction, ReviewReason, RunState, StepState
from backout.views.clock import Clock
from backout.views.picture import RunPicture
from backout.views.questions import ASKED, find_open_question
from backout.views.words import clean, clip, join_words, say_count, say_seconds, say_was

REVIEW_WORDS: Final[Mapping[ReviewReason, str]] = {
    ReviewReason.CONFIRMATION_MISSING: "nothing confirms that it happened",
    ReviewReason.RETRIES_EXHAUSTED_AFTER_WRITE: "the retries are used up after something may have been written",
    ReviewReason.SYSTEMS_DISAGREE: "two systems say different things",
    ReviewReason.MAY_HAVE_DUPLICATED: "it may have happened twice",
    ReviewReason.NOT_LIVE_AFTER_PUBLISH: "it was published and is not seen live",
    ReviewReason.CREDENTIALS_FAILED: "the credentials were refused",
    ReviewReason.COMPENSATION_FAILED: "it could not be undone",
    ReviewReason.IRREVERSIBLE_PASSED: "something that cannot be undone has happened, or may have",
    ReviewReason.DEFINITION_MISSING: "no worker knows its definition",
}
"""What each reason code asks a person to look at, in words."""


def tell_story(picture: RunPicture) -> str:
    """Return what happened to a run and what it waits for, in one sentence."""
    name, state = clean(picture.run.pipeline), picture.run.state
    match state:
        case RunState.PENDING:
            told = f"has not started: {_tell_current(picture)}"
        case RunState.RUNNING | RunState.WAITING:
            told = f"is {state.value}: {_tell_current(picture)}; {_tell_done(picture)}"
        case RunState.PAUSED:
            told = f"is paused by a person; {_tell_done(picture)}"
        case RunState.PARKED:
            told = f"is parked{_because(picture)}; {_tell_done(picture)} and kept; it waits to be resumed"
        case RunState.IN_REVIEW:
            told = f"waits for a person: {_tell_question(picture)}; {_tell_progress(picture)}"
        case RunState.ROLLING_BACK:
            told = f"is being rolled back{_because(picture)}; {_tell_rollback(picture)}"
        case RunState.ROLLED_BACK:
            told = f"was rolled back{_because(picture)}; {_tell_rollback(picture)}"
        case RunState.FAILED:
            told = f"failed{_because(picture)}; {_tell_progress(picture)}"
        case RunState.CANCELLED:
            told = f"was cancelled{_because(picture)}; {_tell_done(picture)} and not undone"
        case RunState.SUCCEEDED:
            told = f"succeeded: {_tell_success(picture)}"
        case _:
            assert_never(state)
    return f"{name} {told}."


def tell_failure(row: StepRecord) -> str:
    """Return how an attempt ended badly: `book_courier failed at attempt 3 (no courier in that area)`."""
    step = clean(row.step)
    is_undoing = row.direction is Direction.COMPENSATION
    if row.state is StepState.IN_DOUBT:
        deed = f"{step} was undone" if is_undoing else f"{step} happened"
        return f"nobody knows whether {deed} at attempt {row.attempt}{_why(row)}"
    return f"{'undoing ' if is_undoing else ''}{step} failed at attempt {row.attempt}{_why(row)}"


def _why(row: StepRecord) -> str:
    message = clip((row.error or {}).get("message") or "")
    return f" ({message})" if message else ""


def find_cause(picture: RunPicture) -> StepRecord | None:
    """Return the forward step whose failure stopped the run; `None` when none did."""
    stopping = [
        row
        for row in picture.latest(Direction.FORWARD)
        if row.state in (StepState.FAILED, StepState.IN_DOUBT) and not _is_passed(picture, row)
    ]
    return stopping[-1] if stopping else None


def _is_passed(picture: RunPicture, row: StepRecord) -> bool:
    """Return whether the run went on after the failure, as the contract of the step says."""
    contract = picture.contract_of(row)
    return row.state is StepState.FAILED and contract is not None and contract.on_failure is OnFailure.CONTINUE


def _because(picture: RunPicture) -> str:
    cause = find_cause(picture)
    if cause is not None:
        return f": {tell_failure(cause)}"
    return f": {clip(picture.run.error_summary)}" if picture.run.error_summary else ""


def _tell_current(picture: RunPicture) -> str:
    """Return what the run is doing, or waits for."""
    unfinished = [row for row in picture.latest(Direction.FORWARD) if not row.state.is_finished]
    question = find_open_question(picture)
    if not unfinished and question is not None:
        return f"{clean(question.step)} is done, and it is being asked {ASKED[question.direction]}"
    if not unfinished:
        return "what comes next is being recorded"
    row, clock = unfinished[-1], Clock(now=picture.now)
    attempt = f"attempt {row.attempt}{_attempts_allowed(picture, row)} of {clean(row.step)}"
    if row.state is StepState.RUNNING:
        started_at = picture.attempt_started_at(row)
        return f"{attempt} started {clock.say_age(started_at)}" if started_at else f"{attempt} runs"
    if row.state is StepState.RETRY_SCHEDULED and row.next_retry_at is not None:
        verb = "was" if row.next_retry_at <= clock.now else "is"
        return f"{attempt} failed{_why(row)}, the next {verb} {clock.say_due(row.next_retry_at)}"
    if row.state is StepState.IN_DOUBT:
        asked = f"; it is being asked {ASKED[question.direction]}" if question is not None else ""
        return f"{tell_failure(row)}{asked}"
    waiting = f" for {say_seconds(clock.seconds_since(row.dispatched_at))}" if row.dispatched_at else ""
    return f"{clean(row.step)} has been waiting for a worker{waiting}"


def _attempts_allowed(picture: RunPicture, row: StepRecord) -> str:
    contract = picture.contract_of(row)
    return f"/{contract.retry.limit + 1}" if contract is not None else ""


def _tell_done(picture: RunPicture) -> str:
    done = sum(row.state is StepState.SUCCEEDED for row in picture.latest(Direction.FORWARD))
    if picture.plan is None:
        return f"{say_count(done, 'step')} done"
    return f"{done} of {say_count(len(picture.plan.steps), 'step')} done"


def _tell_success(picture: RunPicture) -> str:
    run, rows = picture.run, picture.latest(Direction.FORWARD)
    took = f" in {say_seconds((run.finished_at - run.created_at).total_seconds())}" if run.finished_at else ""
    parts = [f"{say_count(sum(row.state is StepState.SUCCEEDED for row in rows), 'step')} done{took}"]
    skipped = sum(row.state is StepState.SKIPPED for row in rows)
    if skipped:
        parts.append(say_was(skipped, "skipped"))
    parts += [f"{tell_failure(row)} and was passed over" for row in rows if row.state is StepState.FAILED]
    return "; ".join(parts)


def _tell_question(picture: RunPicture) -> str:
    review = picture.open_review()
    if review is None:
        return "no question is open"
    asked = f"{REVIEW_WORDS[review.reason]} ({review.reason.value})"
    about = [row for row in picture.steps if _is_about(review, row)]
    if about and about[-1].state in (StepState.FAILED, StepState.IN_DOUBT):
        return f"{tell_failure(about[-1])}, {asked}"
    return f"{clean(review.step)}: {asked}" if review.step else asked


def _is_about(review: ReviewRecord, row: StepRecord) -> bool:
    return (review.round, review.position, review.direction) == (row.round, row.position, row.direction)


def _tell_progress(picture: RunPicture) -> str:
    return _tell_rollback(picture) if picture.latest(Direction.COMPENSATION) else _tell_done(picture)


def _tell_rollback(picture: RunPicture) -> str:
    """Return how far the rollback came: `2 steps were undone, 1 was kept`."""
    rows = picture.latest(Direction.COMPENSATION)
    undone = sum(row.state is StepState.SUCCEEDED for row in rows)
    kept = sum(row.state is StepState.KEPT for row in rows)
    failed = [row for row in rows if row.state in (StepState.FAILED, StepState.IN_DOUBT)]
    left = [row for row in rows if not row.state.is_finished and row.state is not StepState.IN_DOUBT]
    told: list[str] = []
    for count, deed in ((undone, "undone"), (kept, "kept")):
        if count:
            told.append(say_was(count, deed, None if told else "step"))
    told += [_tell_not_undone(row) for row in failed]
    if left:
        told.append(
            f"{say_count(len(left), 'step')} still to be undone ({join_words([clean(row.step) for row in left])})"
        )
    return ", ".join(told) or "nothing had to be undone"


def _tell_not_undone(row: StepRecord) -> str:
    if row.state is StepState.IN_DOUBT:
        return tell_failure(row)
    return f"{clean(row.step)} could not be undone{_why(row)}"

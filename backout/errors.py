"""Every error that backout raises, grouped by who must act.

    BackoutError
    ├── DefinitionError            whoever writes the pipeline
    ├── ConfigurationError         whoever deploys it
    │   └── SchemaMismatch
    ├── RequestError               whoever called
    │   ├── InvalidInput
    │   ├── PayloadTooLarge
    │   ├── UnknownPipeline
    │   ├── UnknownRun
    │   ├── OutputMissing
    │   ├── ActionRefused
    │   ├── StateChanged
    │   └── WaitTimedOut
    ├── LedgerUnavailable          nobody yet: the database is away
    ├── MessageRefused             whoever sent the message; recorded in the ledger
    ├── StepError                  nobody: what Celery and Flower are told after the ledger knows it
    │   ├── StepFailed
    │   └── StepTimedOut
    └── StepSignal                 raised by user code to say how the attempt ended
        ├── RetryStep
        ├── FailStep
        ├── InDoubt
        ├── ParkRun
        ├── AskHuman
        └── SkipStep

Each class has a stable `code`, builds its message from typed fields, and survives pickling.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, ClassVar

from backout.states import ReviewReason


def _restore(cls: type[BackoutError], arguments: tuple[object, ...], fields: dict[str, object]) -> BackoutError:
    error = cls.__new__(cls)
    error.args = arguments
    error.__dict__.update(fields)
    return error


class BackoutError(Exception):
    """The root of all errors of backout."""

    code: ClassVar[str] = "backout_error"
    """Stable; a heading in the documentation."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by fields: constructors take keywords only, which the default protocol cannot call."""
        return _restore, (type(self), self.args, self.__dict__.copy())


class DefinitionError(BackoutError):
    """A step or a pipeline may not be defined like this. Raised at import; nothing was registered."""

    code = "definition_error"

    def __init__(self, *, subject: str, problem: str, remedy: str) -> None:
        self.subject = subject
        self.problem = problem
        self.remedy = remedy
        super().__init__(f"{subject}: {problem}. {remedy}")


class ConfigurationError(BackoutError):
    """The deployment is not usable as it is. Nothing was started."""

    code = "configuration_error"

    def __init__(self, *, problem: str, remedy: str) -> None:
        self.problem = problem
        self.remedy = remedy
        super().__init__(f"{problem}. {remedy}")


class SchemaMismatch(ConfigurationError):
    """The ledger's tables are not the ones that this release needs."""

    code = "schema_mismatch"

    def __init__(self, *, database: str, expected: str, found: str | None) -> None:
        self.database = database
        self.expected = expected
        self.found = found
        state = "has no backout tables" if found is None else f"is at revision {found!r}"
        super().__init__(
            problem=f"the ledger {database} {state}, this release of backout needs revision {expected!r}",
            remedy=(
                "run `backout ledger upgrade` (or `celery -A proj backout ledger upgrade`) with this release, "
                "then start again; if the ledger is newer than this release, deploy the newer release"
            ),
        )


class RequestError(BackoutError):
    """The caller asked for something that cannot be done. Nothing was written."""

    code = "request_error"


class InvalidInput(RequestError):
    """The input of a run does not fit the types that its steps declare."""

    code = "invalid_input"

    def __init__(self, *, pipeline: str, step: str, problems: tuple[str, ...]) -> None:
        self.pipeline = pipeline
        self.step = step
        self.problems = problems
        super().__init__(
            f"pipeline {pipeline!r} was not started: the input does not fit step {step!r}: "
            + "; ".join(problems)
            + ". Nothing was recorded; correct the input and enqueue again.",
        )


class PayloadTooLarge(RequestError):
    """An input is larger than the ledger is set up to take."""

    code = "payload_too_large"

    def __init__(self, *, what: str, size_bytes: int, limit_bytes: int) -> None:
        self.what = what
        self.size_bytes = size_bytes
        self.limit_bytes = limit_bytes
        super().__init__(
            f"{what} is {size_bytes:,} bytes of JSON, the limit is {limit_bytes:,}. "
            "Store it elsewhere and pass its id, or raise `backout_max_payload_bytes`.",
        )


class UnknownPipeline(RequestError):
    """No pipeline of that name is defined in this process."""

    code = "unknown_pipeline"

    def __init__(self, *, pipeline: str, known: tuple[str, ...]) -> None:
        self.pipeline = pipeline
        self.known = known
        listed = ", ".join(known) or "none"
        super().__init__(
            f"no pipeline {pipeline!r} is defined in this process (known: {listed}). "
            "Import the module that defines it, or check the name.",
        )


class UnknownRun(RequestError):
    """The ledger has no such run."""

    code = "unknown_run"

    def __init__(self, *, run_id: str, matches: int = 0) -> None:
        self.run_id = run_id
        self.matches = matches
        found = f"{matches} runs start with" if matches else "the ledger has no run"
        super().__init__(f"{found} {run_id!r}. `backout runs list` shows the ids; give enough of one to be unique.")


class OutputMissing(RequestError):
    """An output was asked for that the run does not have."""

    code = "output_missing"

    def __init__(self, *, run_id: str, step: str) -> None:
        self.run_id = run_id
        self.step = step
        super().__init__(
            f"run {run_id} has no valid output of step {step!r}: it has not succeeded, was undone, or is no step of "
            "this pipeline. Only steps that come earlier in the pipeline have one.",
        )


class ActionRefused(RequestError):
    """What was asked for by hand cannot be done about this run as it is. Nothing was written."""

    code = "action_refused"

    def __init__(self, *, verb: str, run_id: str, why: str, remedy: str) -> None:
        self.verb = verb
        self.run_id = run_id
        self.why = why
        self.remedy = remedy
        super().__init__(f"{verb} of run {run_id} is refused: {why}. {remedy} Nothing was changed.")


class StateChanged(RequestError):
    """The run is not any more what the decision was made on (R13). Nothing was written; look again and decide anew."""

    code = "state_changed"

    def __init__(self, *, verb: str, run_id: str, expected: str, found: str, by: str) -> None:
        self.verb = verb
        self.run_id = run_id
        self.expected = expected
        self.found = found
        self.by = by
        super().__init__(
            f"{verb} of run {run_id} was not done: it was decided on {expected}, and the run is now {found}"
            f"{f' ({by})' if by else ''}. Nothing was changed; look with `backout runs show {run_id}` and decide anew.",
        )


class WaitTimedOut(RequestError):
    """A run had not settled when the caller's patience ended. The run goes on."""

    code = "wait_timed_out"

    def __init__(self, *, run_id: str, timeout_seconds: float, state: str) -> None:
        self.run_id = run_id
        self.timeout_seconds = timeout_seconds
        self.state = state
        super().__init__(
            f"run {run_id} is still {state} after {timeout_seconds:g} s. It goes on; "
            "wait again, or look with `backout runs show`.",
        )


class LedgerUnavailable(BackoutError):
    """The database is away. What was asked for was not done; it is safe to ask again."""

    code = "ledger_unavailable"

    def __init__(self, *, database: str, problem: str) -> None:
        self.database = database
        # Drivers answer in several lines and with punctuation of their own.
        self.problem = " ".join(problem.split()).rstrip(".?!")
        super().__init__(f"the ledger {database} does not answer: {self.problem}. Nothing was written; try again.")


class MessageRefused(BackoutError):
    """A Celery message is not one that backout sent, or from a release that this one does not understand.

    It is recorded as an entry before this is raised, so acknowledging it loses nothing (R10).
    """

    code = "message_refused"

    def __init__(self, *, task: str, problem: str) -> None:
        self.task = task
        self.problem = problem
        super().__init__(
            f"task {task} got a message that it cannot run: {problem}. Steps are started by their pipeline: "
            "call `pipeline.enqueue(…)`, not `.delay()` or `.apply_async()` of a step.",
        )


class StepError(BackoutError):
    """Told to Celery after the ledger knows it, so that Flower shows the task as failed."""

    code = "step_error"


class StepFailed(StepError):
    """An attempt failed for good; the outcome and what follows from it are in the ledger."""

    code = "step_failed"

    def __init__(self, *, run_id: str, step: str, attempt: int, error: str, consequence: str) -> None:
        self.run_id = run_id
        self.step = step
        self.attempt = attempt
        self.error = error
        self.consequence = consequence
        super().__init__(f"{step} failed at attempt {attempt} of run {run_id}: {error}. Recorded; {consequence}.")


class StepTimedOut(StepError):
    """Raised inside the user's function when the attempt's time is up."""

    code = "step_timed_out"

    def __init__(self, *, step: str, timeout_seconds: float) -> None:
        self.step = step
        self.timeout_seconds = timeout_seconds
        super().__init__(f"{step} did not answer within {timeout_seconds:g} s")


class StepSignal(BackoutError):
    """How user code says what its attempt means, instead of an answer."""

    code = "step_signal"


class RetryStep(StepSignal):
    """Try this step again; counts as an attempt.

    Args:
        reason: for the entry.
        after: the delay before the next attempt; the step's retry settings decide when it is `None`.
    """

    code = "retry_step"

    def __init__(self, reason: str = "the step asked to be tried again", *, after: timedelta | None = None) -> None:
        self.reason = reason
        self.after = after
        super().__init__(reason)


class FailStep(StepSignal):
    """Fail this step for good, without further attempts; its `on_failure` decides what follows.

    Args:
        reason: for the entry.
        no_effect: nothing happened outside, so there is nothing to undo for this step.
    """

    code = "fail_step"

    def __init__(self, reason: str, *, no_effect: bool = False) -> None:
        self.reason = reason
        self.no_effect = no_effect
        super().__init__(reason)


class InDoubt(StepSignal):
    """Nobody knows whether the effect happened: the request went out, and no answer came.

    The attempt ends as one that was cut off does (R8): the step runs again if it is idempotent, else its reconcile
    function is asked, or a person.

    Args:
        reason: what is known, for the entry and for whoever is asked.
    """

    code = "in_doubt"

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


class ParkRun(StepSignal):
    """Keep what was done and let the run wait until a person resumes it at this step."""

    code = "park_run"

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


class AskHuman(StepSignal):
    """Stop and ask a person.

    Args:
        review: the reason code of the review, such as `"credentials_failed"`.
        reason: in words, for the reviewer.

    Raises:
        ValueError: `review` is no reason code.
    """

    code = "ask_human"

    def __init__(self, review: ReviewReason | str, reason: str = "") -> None:
        self.review = ReviewReason(review)
        self.reason = reason or self.review.value
        super().__init__(self.reason)


class SkipStep(StepSignal):
    """Nothing to do here: record the step as skipped and go on with the next."""

    code = "skip_step"

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)

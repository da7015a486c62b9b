"""What a person types for an action: the exact command."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Final

from backout.compensations.requests import Request, ReviewDecision, Verb

VERBS: Final[Mapping[Verb, str]] = {
    Verb.RETRY_STEP: "runs retry",
    Verb.RESUME: "runs resume",
    Verb.SKIP_STEP: "runs skip",
    Verb.ROLLBACK: "runs rollback",
    Verb.RERUN_COMPENSATION: "compensations rerun",
    Verb.CONTINUE_ROLLBACK: "runs continue",
    Verb.RESOLVE: "reviews resolve",
    Verb.CANCEL: "runs cancel",
    Verb.PAUSE: "runs pause",
}
"""The command of each verb, behind `backout`."""

DECISIONS: Final[Mapping[ReviewDecision, str]] = {
    ReviewDecision.DONE: "done",
    ReviewDecision.NOT_DONE: "not-done",
    ReviewDecision.ACCEPT: "accept",
}
"""What each decision is called on the command line."""


def say_command(request: Request, run_id: str, *, start: str = "backout", takes_output: bool = False) -> str:
    """Return the command that asks for something, ready to be typed.

    Args:
        request: what is asked for.
        run_id: of which run.
        start: how a command starts that means the same ledger.
        takes_output: the decision needs to be told what the step would have returned.
    """
    words = [start, VERBS[request.verb]]
    if request.verb is Verb.RESOLVE:
        words += [str(request.review_id), DECISIONS[request.decision] if request.decision else "DECISION"]
        words += ["--output JSON"] if takes_output else []
        return " ".join(words)
    words.append(run_id)
    if request.verb is Verb.RERUN_COMPENSATION:
        words.append(shlex.quote(request.step or "STEP"))
    elif request.step is not None:
        words.append(f"--step {shlex.quote(request.step)}")
    if request.to_step is not None:
        words.append(f"--to-step {shlex.quote(request.to_step)}")
    if request.across_irreversible is not None:
        words.append(f"--across-irreversible {shlex.quote(request.across_irreversible)}")
    if request.with_rollback:
        words.append("--rollback")
    return " ".join(words)

"""What must not be quoted of the run of an attempt, in what the attempt says of its end."""

from __future__ import annotations

from backout.pipelines.masking import NO_SECRETS, Secrets, declares_any, declares_outputs
from backout.pipelines.secrets import read_secrets
from backout.tasks.attempt import Attempt
from backout.tasks.runtime import Runtime


def find_secrets(runtime: Runtime, attempt: Attempt) -> Secrets:
    """Return the secrets of the run; reads its steps where they can have some, and waits while the ledger is away."""
    plan, claim = attempt.plan, attempt.claim
    if not declares_any(plan):
        return NO_SECRETS
    if not declares_outputs(plan):
        return Secrets(plan, claim.run.input)
    return runtime.ledger.read_patiently(
        lambda connection: read_secrets(connection, claim.key.run_id),
        what=f"what {claim.step} must not tell",
    )

"""Read from the ledger what must not be shown of a run."""

from __future__ import annotations

from collections.abc import Iterable

from backout.identifiers import RunId
from backout.ledger import queries, reading
from backout.ledger.records import RunRecord, StepRecord
from backout.ledger.session import LedgerConnection
from backout.pipelines.contract import Plan
from backout.pipelines.customer import read_plan
from backout.pipelines.masking import NO_SECRETS, Secrets, declares_any, declares_outputs


def read_secrets(connection: LedgerConnection, run_id: RunId) -> Secrets:
    """Return the secrets of a run; none where the ledger has no such run."""
    run = queries.find_run(connection, run_id)
    return NO_SECRETS if run is None else secrets_of(connection, run, read_plan(queries.load_plan(connection, run_id)))


def secrets_of(
    connection: LedgerConnection, run: RunRecord, plan: Plan | None, *, more: Iterable[StepRecord] = ()
) -> Secrets:
    """Return the secrets of a run that is read already.

    Args:
        connection: any; its steps are read, and only where they can have secrets.
        run: of the ledger.
        plan: of the run; `None`: it cannot be read.
        more: rows as they will be.
    """
    if plan is not None and not declares_any(plan):
        return NO_SECRETS
    if plan is not None and not declares_outputs(plan):
        return Secrets(plan, run.input)
    steps = queries.list_steps(connection, run.id)
    return Secrets(plan, run.input, (*steps, *more), reading.list_facts(connection, run.id))

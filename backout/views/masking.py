"""What the ledger says of runs, as it may be shown: without the values of fields that their plans call sensitive."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from backout.compensations.actions import ActionDone, Preview
from backout.compensations.requests import PlannedTask, RunView
from backout.events import Event
from backout.identifiers import RunId
from backout.ledger import queries
from backout.ledger.following import FollowedEntry
from backout.ledger.records import EntryRecord, ReviewRecord, RunRecord, StepRecord
from backout.ledger.session import Ledger, LedgerConnection
from backout.pipelines.contract import Plan
from backout.pipelines.customer import read_plan
from backout.pipelines.masking import NO_SECRETS, Secrets, keeps_answer
from backout.pipelines.secrets import secrets_of

CACHED_PLANS: Final = 1_000
REMEMBERED_RUNS: Final = 10_000


def mask_run(run: RunRecord, secrets: Secrets) -> RunRecord:
    """Return a run as it may be shown. Source event and subject stay: people look for runs by them."""
    if secrets.are_none:
        return run
    return replace(
        run,
        input=secrets.cover_input(run.input),
        output=secrets.cover_run_output(run.output),
        external_ids=secrets.cover_ids(run.external_ids),
        error_summary=secrets.hide_optional(run.error_summary),
    )


def mask_step(row: StepRecord, secrets: Secrets) -> StepRecord:
    """Return a step row as it may be shown."""
    if secrets.are_none:
        return row
    is_question = row.direction.is_question
    cover = secrets.cover_facts if is_question else secrets.cover_output
    return replace(
        row,
        output=cover(row.output, row.position),
        external_ids=secrets.cover_ids(row.external_ids),
        error=secrets.cover_facts(row.error, row.position),
        idempotency_key=secrets.hide(row.idempotency_key),
        exclusive_key=secrets.hide_optional(row.exclusive_key),
    )


def mask_entry(entry: EntryRecord, secrets: Secrets) -> EntryRecord:
    """Return an entry as it may be shown."""
    if secrets.are_none:
        return entry
    # Why a person is asked is told as a code, which other programs and `read_lifecycle` compare.
    is_code = entry.event is Event.RUN_IN_REVIEW
    is_answer = keeps_answer(entry.event, entry.direction)
    return replace(
        entry,
        reason=entry.reason if is_code else secrets.hide_optional(entry.reason),
        detail=secrets.cover_facts(entry.detail, entry.position, is_answer=is_answer),
    )


def mask_review(review: ReviewRecord, secrets: Secrets) -> ReviewRecord:
    """Return a review as it may be shown."""
    if secrets.are_none:
        return review
    return replace(
        review,
        evidence=secrets.cover_facts(review.evidence, review.position),
        note=secrets.hide_optional(review.note),
    )


def mask_view(view: RunView, secrets: Secrets) -> RunView:
    """Return what a person decides on as it may be shown. What it leads to is the same, and so is its version."""
    if secrets.are_none:
        return view
    return replace(
        view,
        run=mask_run(view.run, secrets),
        steps=tuple(mask_step(row, secrets) for row in view.steps),
        reviews=tuple(mask_review(review, secrets) for review in view.reviews),
    )


def mask_preview(preview: Preview, plan: Plan, secrets: Secrets) -> Preview:
    """Return what an action would do as it may be shown: also what its tasks would be given."""
    if secrets.are_none:
        return preview
    refusal = preview.refusal
    if refusal is not None:
        refusal = replace(refusal, why=secrets.hide(refusal.why), remedy=secrets.hide(refusal.remedy))
    return replace(
        preview,
        refusal=refusal,
        tasks=_mask_tasks(preview.tasks, plan, secrets),
        notes=tuple(map(secrets.hide, preview.notes)),
    )


def mask_done(done: ActionDone, plan: Plan, secrets: Secrets) -> ActionDone:
    """Return what an action has done as it may be shown."""
    if secrets.are_none:
        return done
    tasks = _mask_tasks(done.tasks, plan, secrets)
    return replace(done, tasks=tasks, notes=tuple(map(secrets.hide, done.notes)))


def _mask_tasks(tasks: Sequence[PlannedTask], plan: Plan, secrets: Secrets) -> tuple[PlannedTask, ...]:
    return tuple(replace(task, given=secrets.cover_facts(task.given, plan.position_of(task.step))) for task in tasks)


class Masking:
    """Masks what belongs to many runs, with the plan that each was started with; each plan is read once."""

    def __init__(self) -> None:
        self._plans: Final[dict[str, Plan | None]] = {}
        self._plain_runs: Final[set[RunId]] = set()

    def find_secrets(self, connection: LedgerConnection, run: RunRecord) -> Secrets:
        """Return what must not be shown of a run."""
        return secrets_of(connection, run, self._plan_of(connection, run))

    def mask_runs(self, connection: LedgerConnection, runs: Sequence[RunRecord]) -> list[RunRecord]:
        """Return runs as they may be shown."""
        return [mask_run(run, self.find_secrets(connection, run)) for run in runs]

    def mask_reviews(self, connection: LedgerConnection, reviews: Sequence[ReviewRecord]) -> list[ReviewRecord]:
        """Return reviews of any runs as they may be shown."""
        found = {run_id: self._find(connection, run_id) for run_id in dict.fromkeys(one.run_id for one in reviews)}
        return [mask_review(review, found[review.run_id]) for review in reviews]

    def mask_followed(self, ledger: Ledger, followed: FollowedEntry) -> FollowedEntry:
        """Return an entry of any run as it may be shown."""
        run_id = followed.entry.run_id
        if run_id is None or run_id in self._plain_runs:
            return followed
        # Read anew for each entry: what a step has returned meanwhile is a value to look for.
        secrets = ledger.read(lambda connection: self._find(connection, run_id))
        if secrets.are_none:
            if len(self._plain_runs) >= REMEMBERED_RUNS:
                self._plain_runs.clear()
            self._plain_runs.add(run_id)
        return replace(followed, entry=mask_entry(followed.entry, secrets))

    def _find(self, connection: LedgerConnection, run_id: RunId) -> Secrets:
        run = queries.find_run(connection, run_id)
        return self.find_secrets(connection, run) if run is not None else NO_SECRETS

    def _plan_of(self, connection: LedgerConnection, run: RunRecord) -> Plan | None:
        digest = run.definition_digest
        if digest not in self._plans:
            if len(self._plans) >= CACHED_PLANS:
                self._plans.clear()
            self._plans[digest] = read_plan(queries.load_plan(connection, run.id))
        return self._plans[digest]

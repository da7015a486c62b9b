"""The ledger's tables as Django reads them. Nothing is written through them: every change of a run is an entry too."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Any, NoReturn

from django.db import models

from backout.errors import ConfigurationError, RequestError
from backout.events import Event
from backout.integrations.django.configuration import NAME, ledger_alias
from backout.integrations.django.fields import DocumentField, IdField, InstantField
from backout.states import Direction, ReviewReason, RollbackOutcome, RunState, StepState


def _refuse(*_: object, **__: object) -> NoReturn:
    raise RequestError(
        "the ledger is not written through Django's models: a run would change without an entry that says who and why. "
        "Nothing was written. Use the verbs, such as `backout.retry_step(run_id, …)`, the admin or `manage.py backout`."
    )


class LedgerQuerySet(models.QuerySet):
    """Rows of the ledger, to be read."""

    create = bulk_create = get_or_create = update_or_create = update = bulk_update = delete = _refuse
    _raw_delete = _update = _insert = _refuse


class LedgerManager(models.Manager.from_queryset(LedgerQuerySet)):  # type: ignore[misc]  # made at run time
    """Reads the database that holds the ledger, whatever the routers say."""

    def get_queryset(self) -> Any:
        """Return all rows.

        Raises:
            ConfigurationError: the ledger is in none of DATABASES.
        """
        alias = self._db or ledger_alias()
        if alias is None:
            raise ConfigurationError(
                problem="the ledger is in a database that is none of DATABASES, so Django's models cannot read it",
                remedy=f'Add the database to DATABASES and name it: {NAME} = {{"DATABASE": "…"}}.',
            )
        return super().get_queryset().using(alias)


class LedgerRow(models.Model):
    """A row of the ledger, to be read."""

    objects = LedgerManager()

    save = save_base = delete = _refuse

    class Meta:
        """No table of its own."""

        abstract = True
        managed = False
        default_permissions: tuple[str, ...] = ()
        base_manager_name = "objects"


def _choices(values: Iterable[StrEnum]) -> list[tuple[str, str]]:
    return [(value.value, value.value.replace("_", " ")) for value in values]


def _text(length: int | None = None, *, null: bool = False, **options: Any) -> models.Field:
    if length is None:
        return models.TextField(null=null, blank=null, **options)
    return models.CharField(max_length=length, null=null, blank=null, **options)


def _instant(*, null: bool = True) -> InstantField:
    return InstantField(null=null, blank=null)


class Run(LedgerRow):
    """One row of `backout_run`: a run as it is now."""

    id = IdField(primary_key=True)
    pipeline = _text(200)
    definition_digest = _text(64)
    plan = DocumentField()
    source_event_id = _text(255, null=True, verbose_name="source event")
    subject_id = _text(255, null=True, verbose_name="subject")
    state = _text(20, choices=_choices(RunState))
    round = models.IntegerField()
    operator_state = _text()
    last_successful_step = _text(200, null=True)
    external_ids = DocumentField()
    attempt_count = models.IntegerField()
    next_retry_at = _instant()
    requires_human_review = models.BooleanField()
    error_summary = _text(null=True)
    rollback_outcome = _text(20, choices=_choices(RollbackOutcome))
    input = DocumentField()
    output = DocumentField(null=True)
    created_at = _instant(null=False)
    updated_at = _instant(null=False)
    finished_at = _instant()
    deadline_at = _instant()
    rollback_to = models.IntegerField(null=True)

    class Meta(LedgerRow.Meta):
        """Read from the ledger, newest first: ids sort by the time of enqueue."""

        abstract = False
        db_table = "backout_run"
        ordering = ("-id",)
        # All that is recorded of a run is seen with it, so these three are all there are.
        default_permissions = ("view",)
        permissions = (
            ("act_run", "Can act on runs"),
            ("act_across_irreversible", "Can roll runs back across irreversible steps"),
        )

    def __str__(self) -> str:
        return f"{self.pipeline} {self.id}"


class Step(LedgerRow):
    """One row of `backout_step`: a step, a compensation or a question of a run, in one of its rounds."""

    pk = models.CompositePrimaryKey("run_id", "round", "position", "direction")
    run = models.ForeignKey(Run, models.DO_NOTHING, related_name="steps", db_constraint=False)
    round = models.IntegerField()
    position = models.IntegerField()
    direction = _text(12, choices=_choices(Direction))
    step = _text(200)
    state = _text(20, choices=_choices(StepState))
    attempt = models.IntegerField()
    lost_attempts = models.IntegerField()
    start_order = models.IntegerField()
    idempotency_key = _text(500)
    exclusive_key = _text(500, null=True)
    claim_token = IdField(null=True)
    claim_expires_at = _instant()
    task_id = IdField()
    output = DocumentField(null=True)
    external_ids = DocumentField()
    error = DocumentField(null=True)
    next_retry_at = _instant()
    sends = models.IntegerField()
    sweep_at = _instant()
    dispatched_at = _instant()
    started_at = _instant()
    finished_at = _instant()
    claimed_by = _text(200, null=True)
    may_run_until = _instant()
    forgiven_attempts = models.IntegerField()

    class Meta(LedgerRow.Meta):
        """Read from the ledger."""

        abstract = False
        db_table = "backout_step"

    def __str__(self) -> str:
        return f"{self.step} {self.direction}"


class Entry(LedgerRow):
    """One row of `backout_entry`: what happened, who did it, and why."""

    id = models.BigAutoField(primary_key=True)
    at = _instant(null=False)
    run = models.ForeignKey(Run, models.DO_NOTHING, related_name="entries", db_constraint=False, null=True)
    round = models.IntegerField(null=True)
    position = models.IntegerField(null=True)
    step = _text(200, null=True)
    direction = _text(12, null=True, choices=_choices(Direction))
    attempt = models.IntegerField(null=True)
    event = _text(40, choices=_choices(Event))
    actor = _text(200)
    reason = _text(null=True)
    detail = DocumentField(null=True)

    class Meta(LedgerRow.Meta):
        """Read from the ledger."""

        abstract = False
        db_table = "backout_entry"
        ordering = ("id",)
        verbose_name_plural = "entries"

    def __str__(self) -> str:
        return f"{self.event} {self.id}"


class Review(LedgerRow):
    """One row of `backout_review`: what a person must decide, or has decided."""

    id = models.BigAutoField(primary_key=True)
    run = models.ForeignKey(Run, models.DO_NOTHING, related_name="reviews", db_constraint=False)
    round = models.IntegerField()
    position = models.IntegerField(null=True)
    step = _text(200, null=True)
    direction = _text(12, null=True, choices=_choices(Direction))
    reason = _text(40, choices=_choices(ReviewReason))
    evidence = DocumentField()
    opened_at = _instant(null=False)
    deadline_at = _instant()
    assignee = _text(200, null=True)
    decision = _text(40, null=True)
    decided_by = _text(200, null=True)
    note = _text(null=True)
    decided_at = _instant()

    class Meta(LedgerRow.Meta):
        """Read from the ledger, oldest first."""

        abstract = False
        db_table = "backout_review"
        ordering = ("opened_at", "id")

    def __str__(self) -> str:
        return f"review {self.id}"

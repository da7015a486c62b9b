"""The four tables of the ledger, and models that read them."""

from typing import Any

from django.db import migrations, models

from backout.integrations.django.fields import DocumentField, IdField, InstantField
from backout.integrations.django.operations import UpgradeLedger

PERMISSIONS = (
    ("act_run", "Can act on runs"),
    ("act_across_irreversible", "Can roll runs back across irreversible steps"),
)


def _text(length: int | None = None, null: bool = False) -> models.Field:
    if length is None:
        return models.TextField(null=null, blank=null)
    return models.CharField(max_length=length, null=null, blank=null)


def _instant(null: bool = True) -> InstantField:
    return InstantField(null=null, blank=null)


def _run(related_name: str, null: bool = False) -> models.ForeignKey:
    name = related_name
    return models.ForeignKey("backout.run", models.DO_NOTHING, related_name=name, db_constraint=False, null=null)


def _options(table: str, **options: Any) -> dict[str, Any]:
    common = {"managed": False, "abstract": False, "base_manager_name": "objects", "default_permissions": ()}
    return {"db_table": table, **common, **options}


class Migration(migrations.Migration):
    """Make the ledger as backout makes it everywhere; Django's part is to know what is in it."""

    initial = True
    # The ledger is made on connections of its own, which would wait for a transaction of Django's.
    atomic = False

    operations = [
        UpgradeLedger("0001"),
        migrations.CreateModel(
            name="Run",
            fields=[
                ("id", IdField(primary_key=True, serialize=False)),
                ("pipeline", _text(200)),
                ("definition_digest", _text(64)),
                ("plan", DocumentField()),
                ("source_event_id", _text(255, null=True)),
                ("subject_id", _text(255, null=True)),
                ("state", _text(20)),
                ("round", models.IntegerField()),
                ("operator_state", _text()),
                ("last_successful_step", _text(200, null=True)),
                ("external_ids", DocumentField()),
                ("attempt_count", models.IntegerField()),
                ("next_retry_at", _instant()),
                ("requires_human_review", models.BooleanField()),
                ("error_summary", _text(null=True)),
                ("rollback_outcome", _text(20)),
                ("input", DocumentField()),
                ("output", DocumentField(null=True)),
                ("created_at", _instant(null=False)),
                ("updated_at", _instant(null=False)),
                ("finished_at", _instant()),
            ],
            options=_options("backout_run", ordering=("-id",), default_permissions=("view",), permissions=PERMISSIONS),
        ),
        migrations.CreateModel(
            name="Step",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "run_id",
                        "round",
                        "position",
                        "direction",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("run", _run("steps")),
                ("round", models.IntegerField()),
                ("position", models.IntegerField()),
                ("direction", _text(12)),
                ("step", _text(200)),
                ("state", _text(20)),
                ("attempt", models.IntegerField()),
                ("lost_attempts", models.IntegerField()),
                ("start_order", models.IntegerField()),
                ("idempotency_key", _text(500)),
                ("exclusive_key", _text(500, null=True)),
                ("claim_token", IdField(null=True)),
                ("claim_expires_at", _instant()),
                ("task_id", IdField()),
                ("output", DocumentField(null=True)),
                ("external_ids", DocumentField()),
                ("error", DocumentField(null=True)),
                ("next_retry_at", _instant()),
                ("sends", models.IntegerField()),
                ("sweep_at", _instant()),
                ("dispatched_at", _instant()),
                ("started_at", _instant()),
                ("finished_at", _instant()),
            ],
            options=_options("backout_step"),
        ),
        migrations.CreateModel(
            name="Entry",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("at", _instant(null=False)),
                ("run", _run("entries", null=True)),
                ("round", models.IntegerField(null=True)),
                ("position", models.IntegerField(null=True)),
                ("step", _text(200, null=True)),
                ("direction", _text(12, null=True)),
                ("attempt", models.IntegerField(null=True)),
                ("event", _text(40)),
                ("actor", _text(200)),
                ("reason", _text(null=True)),
                ("detail", DocumentField(null=True)),
            ],
            options=_options("backout_entry", ordering=("id",), verbose_name_plural="entries"),
        ),
        migrations.CreateModel(
            name="Review",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("run", _run("reviews")),
                ("round", models.IntegerField()),
                ("position", models.IntegerField(null=True)),
                ("step", _text(200, null=True)),
                ("direction", _text(12, null=True)),
                ("reason", _text(40)),
                ("evidence", DocumentField()),
                ("opened_at", _instant(null=False)),
                ("deadline_at", _instant()),
                ("assignee", _text(200, null=True)),
                ("decision", _text(40, null=True)),
                ("decided_by", _text(200, null=True)),
                ("note", _text(null=True)),
                ("decided_at", _instant()),
            ],
            options=_options("backout_review", ordering=("opened_at", "id")),
        ),
    ]

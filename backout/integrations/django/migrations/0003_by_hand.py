"""Actions by hand: rollbacks to a step, and retries that a person asked for."""

from django.db import migrations, models

from backout.integrations.django.operations import UpgradeLedger


class Migration(migrations.Migration):
    """Bring the ledger to 0003."""

    atomic = False

    dependencies = [("backout", "0002_questions")]

    operations = [
        UpgradeLedger("0003"),
        migrations.AddField("run", "rollback_to", models.IntegerField(null=True)),
        migrations.AddField("step", "forgiven_attempts", models.IntegerField(default=0), preserve_default=False),
    ]

"""Questions about steps, attempts that may still run, and deadlines of runs."""

from django.db import migrations, models

from backout.integrations.django.fields import InstantField
from backout.integrations.django.operations import UpgradeLedger


class Migration(migrations.Migration):
    """Bring the ledger to 0002."""

    atomic = False

    dependencies = [("backout", "0001_four_tables")]

    operations = [
        UpgradeLedger("0002"),
        migrations.AddField("run", "deadline_at", InstantField(null=True, blank=True)),
        migrations.AddField("step", "claimed_by", models.CharField(max_length=200, null=True, blank=True)),
        migrations.AddField("step", "may_run_until", InstantField(null=True, blank=True)),
    ]

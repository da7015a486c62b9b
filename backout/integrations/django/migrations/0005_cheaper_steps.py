"""Cheaper rules of runs and steps."""

from django.db import migrations

from backout.integrations.django.operations import UpgradeLedger


class Migration(migrations.Migration):
    """Bring the ledger to 0005."""

    atomic = False

    dependencies = [("backout", "0004_lists")]

    operations = [UpgradeLedger("0005")]

"""Indexes of the lists."""

from django.db import migrations

from backout.integrations.django.operations import UpgradeLedger


class Migration(migrations.Migration):
    """Bring the ledger to 0004."""

    atomic = False

    dependencies = [("backout", "0003_by_hand")]

    operations = [UpgradeLedger("0004")]

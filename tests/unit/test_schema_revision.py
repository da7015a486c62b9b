"""The revision that the code expects is the newest migration."""

from __future__ import annotations

from pathlib import Path

from alembic.script import ScriptDirectory

from backout.ledger import migrations, schema


def test_the_expected_revision_is_the_newest_migration() -> None:
    """A worker refuses exactly the ledgers that lack a migration of its release."""
    newest = ScriptDirectory(str(Path(migrations.__path__[0]))).get_current_head()
    assert newest == schema.REVISION


def test_revisions_count_up() -> None:
    """A ledger of a later release is told from an older one by its revision alone."""
    found = [step.revision for step in ScriptDirectory(str(Path(migrations.__path__[0]))).walk_revisions()]
    assert found == [f"{number:04}" for number in range(len(found), 0, -1)]

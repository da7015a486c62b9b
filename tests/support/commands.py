"""Commands called in this process, as from a pipe, and what they wrote."""

import json
from typing import Any

from click.testing import CliRunner, Result

from backout.cli.main import backout


def call(*arguments: str, url: str | None = None, **environment: str) -> Result:
    """Run a command in this process, as from a pipe."""
    options = ["--database", url] if url is not None else []
    given = {"BACKOUT_DATABASE_URL": None, "BACKOUT_APP": None, "COLUMNS": "100", **environment}
    return CliRunner().invoke(backout, [*options, *arguments], env=given, catch_exceptions=False)


def read_json(result: Result) -> Any:
    """Return the document that a command wrote; it writes nothing else."""
    assert result.stderr == ""
    return json.loads(result.stdout)

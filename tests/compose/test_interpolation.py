"""Variables in a compose file are filled in as the compose specification says."""

from pathlib import Path

import pytest

from tests.compose.failure import CheckFailed
from tests.compose.interpolation import interpolate, read_environment_file

VARIABLES = {"SET": "value", "EMPTY": ""}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$SET-${SET}", "value-value"),
        ("$$SET", "$SET"),
        ("${EMPTY:-other}", "other"),
        ("${EMPTY-other}", ""),
        ("${MISSING-other}", "other"),
        ("${MISSING:-}", ""),
        ("${SET:-other}", "value"),
        ("${SET:?say why}", "value"),
        ("${EMPTY?say why}", ""),
        ("${SET:+other}", "other"),
        ("${EMPTY:+other}", ""),
        ("${MISSING}", ""),
    ],
)
def test_each_form_of_a_reference_gives_its_value(text: str, expected: str) -> None:
    """The check sees the same values as Docker."""
    assert interpolate({"key": [text]}, VARIABLES) == {"key": [expected]}


@pytest.mark.parametrize("text", ["${EMPTY:?say why}", "${MISSING?say why}", "a lone $ sign"])
def test_missing_value_or_lone_sign_is_refused(text: str) -> None:
    """A required variable without a value stops the check, with the remedy that the file names."""
    with pytest.raises(CheckFailed, match=r"say why|lone"):
        interpolate(text, VARIABLES)


def test_environment_file_gives_its_variables(tmp_path: Path) -> None:
    """Comments and empty lines are passed over, and a value may hold an equals sign."""
    (tmp_path / "file").write_text("# comment\n\nA=b=c\nEMPTY=\n")
    assert read_environment_file(tmp_path / "file") == {"A": "b=c", "EMPTY": ""}

"""`${VARIABLE}` in a compose file, with the forms and the errors of the compose specification."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tests.compose.failure import CheckFailed

REFERENCE: Final = re.compile(
    r"\$(?:(?P<escaped>\$)|(?P<plain>[A-Za-z_]\w*)|\{(?P<name>[A-Za-z_]\w*)(?:(?P<form>:?[-?+])(?P<text>[^{}]*))?\}|)"
)


def interpolate(value: object, variables: Mapping[str, str]) -> object:
    """Return the value with the references in all its texts replaced; keys of mappings stay as they are."""
    match value:
        case str():
            return REFERENCE.sub(lambda found: _replace(found, variables), value)
        case list():
            return [interpolate(item, variables) for item in value]
        case dict():
            return {key: interpolate(item, variables) for key, item in value.items()}
        case _:
            return value


def _replace(found: re.Match[str], variables: Mapping[str, str]) -> str:
    if found["escaped"]:
        return "$"
    name = found["plain"] or found["name"]
    if name is None:
        raise CheckFailed(f"a `$` that is neither `$$` nor a variable: {found.string!r}")
    form, text, value = found["form"] or "", found["text"] or "", variables.get(name)
    # With the colon an empty value counts as a missing one.
    is_missing = not value if form.startswith(":") else value is None
    match form[-1:]:
        case "+":
            return "" if is_missing else text
        case "-":
            return text if is_missing else value or ""
        case "?" if is_missing:
            raise CheckFailed(f"required variable {name} is missing a value: {text}")
        case _:
            return value or ""


def read_environment_file(path: Path) -> dict[str, str]:
    """Return the variables of a `.env` file: `NAME=value` lines, without quotes and continuations."""
    lines = (line.strip() for line in path.read_text().splitlines())
    pairs = (line.partition("=") for line in lines if line and not line.startswith("#"))
    return {name: value for name, _, value in pairs}

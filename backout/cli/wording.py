"""Texts of the core as somebody at the command line reads them: with what they type, not with names in Python."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

_COMMANDS: Final[Mapping[str, str]] = {
    "retry_step": "backout runs retry",
    "resume": "backout runs resume",
    "skip_step": "backout runs skip",
    "rollback": "backout runs rollback",
    "continue_rollback": "backout runs continue",
    "cancel": "backout runs cancel",
    "pause": "backout runs pause",
    "rerun_compensation": "backout compensations rerun",
    "resolve": "backout reviews resolve",
    "assign_review": "backout reviews assign",
    "to_step": "--to-step",
    "across_irreversible": "--across-irreversible",
    "not_done": "not-done",
}
"""What a verb, an option or a decision is called on the command line."""


def in_commands(text: str) -> str:
    """Return text with the verbs that it names between backticks as they are typed: `resume`, `backout runs resume`."""
    return re.sub(r"`(\w+)`", lambda found: f"`{_COMMANDS.get(found[1], found[1])}`", text)

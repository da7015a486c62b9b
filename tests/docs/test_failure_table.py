"""The failure table and the page about its examples: links, states, reasons and commands exist."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from backout import Pipeline, ReviewReason
from backout.pipelines.warnings import find_warnings
from backout.pipelines.words import all_operator_states
from examples.recovery.bookings import book_slot
from examples.recovery.invoices import mail_invoice
from examples.recovery.leads import register_lead
from examples.recovery.payouts import pay_out
from examples.recovery.publishing import publish_article
from examples.recovery.quotes import quote_price

ROOT = Path(__file__).parents[2]
TABLE = ROOT / "docs" / "explanation" / "failure-table.md"
README = ROOT / "examples" / "recovery" / "README.md"
PIPELINES = (quote_price, register_lead, mail_invoice, pay_out, book_slot, publish_article)
PARSE = """
import json, sys
from examples.recovery.__main__ import main
for name, *words in json.loads(sys.argv[1]):
    main.commands[name].make_context(name, words)
"""
STATES = {state for pipeline in PIPELINES for state in all_operator_states(pipeline.plan)}


@pytest.mark.parametrize("page", [TABLE, README], ids=lambda page: page.stem)
def test_every_link_leads_somewhere(page: Path) -> None:
    """A reader who follows one finds the example."""
    links = re.findall(r"\]\(([^)#]+)", page.read_text())
    assert links
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", [TABLE, README], ids=lambda page: page.stem)
def test_every_state_and_reason_is_one_of_the_examples(page: Path) -> None:
    """What the tables promise to show, a run can have."""
    rows = [line for line in page.read_text().splitlines() if line.startswith("| ")]
    named = {word for row in rows for word in re.findall(r"`([a-z]+(?:_[a-z]+)+)`", row) if word != "on_failure"}
    assert named
    assert named <= STATES | set(ReviewReason)


def test_every_command_can_be_given() -> None:
    """Their names, options and faults are known; nothing is run. In a process of its own: it has its own Celery app."""
    commands = re.findall(r"^\$ (python -m examples\.recovery .*)$", README.read_text(), re.MULTILINE)
    given = [shlex.split(command, comments=True)[3:] for command in commands]
    assert len(given) > len(PIPELINES)
    subprocess.run([sys.executable, "-c", PARSE, json.dumps(given)], cwd=ROOT, check=True, timeout=60)


@pytest.mark.parametrize("pipeline", PIPELINES, ids=lambda pipeline: pipeline.name)
def test_only_the_payout_is_warned_of(pipeline: Pipeline) -> None:
    """And the page says why."""
    warnings = find_warnings(pipeline.plan, pipeline.recorded_ids)
    assert {warning.step for warning in warnings} == ({"pay_seller"} if pipeline is pay_out else set())

"""The page about contracts: its example runs, and its lists are those of the code."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click
import pytest

from backout.cli.contract import Format
from backout.cli.main import backout as command_line
from backout.pipelines.customer import customer_message
from backout.pipelines.validation import LONGEST_CUSTOMER_MESSAGE
from backout.pipelines.warnings import WarningCode, find_warnings
from backout.states import RunState
from backout.views.contract_words import tell_contract
from backout.views.shapes import shape_contract
from tests.support.runs import ORDER_PLAN

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "contract.md").read_text()


def test_example_says_what_the_page_says() -> None:
    """A reader who copies it gets the messages, and no warning."""
    [code] = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    module: dict[str, Any] = {"__name__": "shop.leads"}
    exec(compile(code, "contract.md", "exec"), module)  # the point of the test
    plan = module["leads"].plan
    told = customer_message(plan, RunState.RUNNING, "lead_created_enrichment_pending")
    assert told == "We have your data and are completing it."
    assert find_warnings(plan, module["leads"].recorded_ids) == ()


def test_every_warning_has_a_heading() -> None:
    """A person who reads a code finds it in the reference."""
    assert set(re.findall(r"^### (\w+)$", PAGE, re.MULTILINE)) == set(WarningCode)


@pytest.mark.parametrize("state", RunState)
def test_every_safe_text_is_listed(state: RunState) -> None:
    """They can be approved before a customer reads one."""
    assert f"| `{state}` | {customer_message(None, state, '')} |" in PAGE


def test_limit_and_formats_are_those_of_the_code() -> None:
    """And the command is there."""
    assert f"1 to\n{LONGEST_CUSTOMER_MESSAGE} characters" in PAGE
    table = PAGE.partition("| format | for |")[2].partition("`--output")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == set(Format)
    assert command_line.get_command(click.Context(command_line), "contract") is not None


def test_every_key_of_the_json_is_listed() -> None:
    """Programs rely on them."""
    document = shape_contract(ORDER_PLAN, (), tell_contract(ORDER_PLAN, ()))
    listed = PAGE.partition("## JSON")[2]
    assert all(f"`{key}`" in listed for key in document)

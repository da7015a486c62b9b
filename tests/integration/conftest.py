"""What tests with real workers share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.stack import Stack


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Show the logs of the workers of a test that failed."""
    report: Any = yield
    if report.failed:
        for value in list(getattr(item, "funcargs", {}).values()):
            stacks = [value] if isinstance(value, Stack) else getattr(value, "stacks", [])
            for worker in (worker for stack in stacks for worker in stack.workers):
                report.sections.append((f"log of {worker.log_path.name}", worker.log))
    return report  # type: ignore[no-any-return]  # pluggy's wrappers return what they were sent

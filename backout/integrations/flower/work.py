"""Work for the ledger, away from Flower's loop: it also takes in Celery's events, and nothing may hold it up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

from backout.errors import ConfigurationError
from backout.ledger.session import LEDGER_ERRORS

Result = TypeVar("Result")

READ_SECONDS: Final = 10.0
ACT_SECONDS: Final = 40.0
"""A broker that does not answer is given up after 20 seconds; the ledger has its own time before that."""

# Not Flower's executor, in which its questions to workers wait for their answers.
_threads: Final = ThreadPoolExecutor(max_workers=4, thread_name_prefix="backout")


class LedgerAway(Exception):
    """The ledger cannot be used now; whether something was done is not known where it was about to be."""


async def do(work: Callable[..., Result], *given: Any, within_seconds: float, **named: Any) -> Result:
    """Do something in a thread and return what it returns.

    Args:
        work: is called with all that follows, and may block.
        given: by position.
        within_seconds: how long to wait; what was begun is not stopped.
        named: by name.

    Raises:
        LedgerAway: the database is not there or does not answer in time, or its schema is not the one of this release.
    """
    future = asyncio.get_running_loop().run_in_executor(_threads, lambda: work(*given, **named))
    try:
        return await asyncio.wait_for(future, within_seconds)
    except TimeoutError as error:
        raise LedgerAway(f"The database of the runs did not answer within {within_seconds:g} seconds.") from error
    except ConfigurationError as error:
        raise LedgerAway(str(error)) from error
    except LEDGER_ERRORS as error:
        raise LedgerAway("The database of the runs cannot be used just now.") from error

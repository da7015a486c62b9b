"""A read that times out is retried."""

from __future__ import annotations

from backout import RunState
from examples.recovery.providers import Fault, all_deeds, set_fault
from examples.recovery.quotes import Quote, Request, quote_price
from tests.examples.stage import Stage, on_postgres

REQUEST = Request(customer="c-1", currency="USD", euros=100)


def test_quote_is_written(stage: Stage) -> None:
    """The smooth run."""
    handle, run = stage.finish(quote_price, REQUEST)
    assert (run.state, run.operator_state) == (RunState.SUCCEEDED, "quote_written")
    assert handle.output == Quote(id=run.external_ids["quote"], amount=110.0)
    assert handle.customer_message == "Your quote is ready."


@on_postgres
def test_rate_that_times_out_is_read_again(stage: Stage) -> None:
    """Two time-outs cost two attempts and nothing else."""
    set_fault("rates.read", Fault.TIMES_OUT, times=2)
    handle, run = stage.finish(quote_price, REQUEST)
    assert run.state is RunState.SUCCEEDED
    assert (stage.step(handle, "read_rate").attempt, stage.step(handle, "write_quote").attempt) == (3, 1)
    assert [deed.what for deed in all_deeds()] == ["write_quote"]


def test_rate_that_stays_away_ends_the_run_with_nothing_to_undo(stage: Stage) -> None:
    """Nobody is asked, because nothing has happened."""
    set_fault("rates.read", Fault.TIMES_OUT)
    handle, run = stage.finish(quote_price, REQUEST)
    assert (run.state, run.operator_state) == (RunState.ROLLED_BACK, "rate_missing_rolled_back")
    assert not run.requires_human_review
    assert all_deeds() == []
    assert handle.customer_message == "We cannot quote at the moment. Please ask again later."

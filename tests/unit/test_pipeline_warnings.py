"""What `backout check` warns of, and how it shows contracts."""

import pytest

from backout.cli.render.contracts import draw_pipeline, draw_warnings
from backout.pipelines.contract import Backoff, Effect, OnFailure, Plan, RecoveryKind, RetryRule, StepContract
from backout.pipelines.warnings import WarningCode, find_warnings
from backout.views.contract_words import say_retry
from tests.support.pictures import printed
from tests.support.runs import ORDER_PLAN, contract, question, retry_rule, undoing


def plan(*steps: StepContract) -> Plan:
    return Plan(pipeline="shop", steps=steps)


def test_write_that_nobody_can_reconcile_is_warned_of() -> None:
    """An attempt that is cut off in the middle would wake a person."""
    [warning] = find_warnings(plan(contract("charge_card")))
    assert (warning.code, warning.step) == (WarningCode.DOUBT_ASKS_PERSON, "charge_card")
    assert "@charge_card.reconcile" in warning.remedy


@pytest.mark.parametrize("effect", [Effect.WRITE, Effect.NOTIFY, Effect.PUBLISH])
def test_every_effect_outside_can_be_in_doubt(effect: Effect) -> None:
    """A customer who is told twice is an effect too."""
    codes = [warning.code for warning in find_warnings(plan(contract("tell", effect=effect)))]
    assert codes.count(WarningCode.DOUBT_ASKS_PERSON) == 1


@pytest.mark.parametrize(
    "safe",
    [
        contract("step", idempotent=True),
        contract("step", reconcile=question("shop.find")),
        contract("step", effect=Effect.READ, recovery=RecoveryKind.NOTHING_TO_UNDO),
    ],
    ids=["idempotent", "reconciled", "read"],
)
def test_step_that_can_be_run_again_is_not_warned_of(safe: StepContract) -> None:
    """Each of the three is enough."""
    assert find_warnings(plan(safe)) == ()


def test_what_is_published_and_not_looked_at_is_warned_of() -> None:
    """Done and seen live are two acceptances."""
    page = contract("page", effect=Effect.PUBLISH, idempotent=True, **undoing("take it down"))
    [warning] = find_warnings(plan(page))
    assert (warning.code, warning.step) == (WarningCode.PUBLISHED_UNSEEN, "page")
    seen = contract("page", effect=Effect.PUBLISH, idempotent=True, verify=question("shop.see"), **undoing("take down"))
    assert find_warnings(plan(seen)) == ()


def test_step_that_may_fail_after_an_irreversible_one_is_warned_of() -> None:
    """Its rollback could not pass (R7)."""
    ship = contract("ship", recovery=RecoveryKind.IRREVERSIBLE, recovery_reason="it left", idempotent=True)
    bill = contract("bill", idempotent=True, **undoing("cancel the bill"))
    [warning] = find_warnings(plan(bill, ship, bill))
    assert (warning.code, warning.step) == (WarningCode.MAY_FAIL_AFTER_IRREVERSIBLE, "ship")
    assert "bill after it may fail" in warning.problem


@pytest.mark.parametrize("on_failure", [OnFailure.CONTINUE, OnFailure.PARK, OnFailure.REVIEW])
def test_step_that_asks_for_no_rollback_may_follow_an_irreversible_one(on_failure: OnFailure) -> None:
    """Nothing would have to pass the irreversible step."""
    ship = contract("ship", recovery=RecoveryKind.IRREVERSIBLE, recovery_reason="it left", idempotent=True)
    assert find_warnings(plan(ship, contract("tell", idempotent=True, on_failure=on_failure))) == ()


def test_irreversible_step_at_the_end_is_not_warned_of() -> None:
    """That is where it belongs."""
    ship = contract("ship", recovery=RecoveryKind.IRREVERSIBLE, recovery_reason="it left", idempotent=True)
    assert find_warnings(plan(contract("pay", idempotent=True), ship)) == ()


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (retry_rule(0), "no retry"),
        (retry_rule(1, delay_seconds=2.0), "1 retry, 2 s"),
        (retry_rule(3, delay_seconds=0.5, backoff=Backoff.CONSTANT), "3 retries, 0.5 s each"),
        (retry_rule(3, delay_seconds=0.0), "3 retries, at once"),
        (retry_rule(3, delay_seconds=2.0), "3 retries, 2 s doubling to 8 s"),
        (retry_rule(9, delay_seconds=2.0, max_delay_seconds=60.0), "9 retries, 2 s doubling to 1 min"),
        (retry_rule(9, delay_seconds=120.0, max_delay_seconds=60.0), "9 retries, 1 min each"),
        (
            retry_rule(5, backoff=Backoff.LINEAR, on=("builtins.OSError", "shop.Busy"), never_on=("shop.Gone",)),
            "5 retries, 10 s growing to 50 s, only on OSError and Busy, never on Gone",
        ),
    ],
)
def test_retries_are_said_in_words(rule: RetryRule, words: str) -> None:
    """Nobody should have to know the field names."""
    assert say_retry(rule) == words


@pytest.mark.parametrize("width", [60, 80, 100, 140])
def test_contracts_show_what_follows_a_failure(width: int) -> None:
    """Recovery actions in words, attempts, and what becomes of an attempt that is cut off."""
    flat = " ".join(printed(draw_pipeline(ORDER_PLAN), width).split())
    for fact in ("fulfil_order", "refund", "stays:", "nothing", "asks", "find_charge", "notify", "continue"):
        assert fact in flat


def test_check_names_what_is_shown_masked() -> None:
    """Whoever reviews the pipeline sees what nobody will see."""
    steps = (contract("charge_card", sensitive=("token", "*")), contract("ship"))
    shown = printed(draw_pipeline(Plan(pipeline="shop", steps=steps, sensitive=("card_number",))))
    assert "shown masked: card_number; charge_card: token, everything" in shown
    assert "masked" not in printed(draw_pipeline(ORDER_PLAN))


def test_warnings_show_their_remedy() -> None:
    """A warning that names no way out is noise."""
    shown = " ".join(printed(draw_warnings(find_warnings(ORDER_PLAN))).split())
    assert "! reserve_stock: an attempt that is cut off in the middle will ask a person" in shown
    assert "Write `@reserve_stock.reconcile`" in shown

"""The pytest plugin in somebody else's project."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest_plugins = ("pytester",)

ROOT = Path(__file__).parents[2]
SHOP = """
from backout import Pipeline, step
from backout.testing import make_stand_ins

CALLED = []

@step
def charge(order: str) -> str:
    CALLED.append("charge")
    return "paid"

@charge.compensation(action="refund")
def refund(order: str, output: str | None) -> None:
    CALLED.append("refund")

@step(keep="it expires")
def book(order: str) -> str:
    return "booked"

SHOP = Pipeline("shop", [charge, book])
"""


def run(pytester: pytest.Pytester, tests: str, *options: str) -> pytest.RunResult:
    """Run tests of a project that has a shop, in a process of its own."""
    pytester.makepyfile(shop=SHOP, test_shop=tests)
    pytester.makeini("[pytest]\naddopts = --strict-markers\nfilterwarnings = error")
    with pytest.MonkeyPatch.context() as patch:
        # An installed backout has registered its plugin, and each plugin can be there once only.
        patch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
        patch.setenv("PYTHONPATH", str(ROOT))
        return pytester.runpytest_subprocess("-p", "backout.testing.pytest_plugin", "-v", *options)


def test_scratch_runs_what_the_test_enqueues(pytester: pytest.Pytester) -> None:
    """By `run`, or by the code under test and `settle`; two tests share nothing."""
    tests = """
    import shop, pytest

    @pytest.mark.parametrize("number", [1, 2])
    def test_order_is_charged(backout_scratch, number):
        shop.CALLED.clear()
        handle = backout_scratch.run(shop.SHOP, "o-1", source_event_id="form-1")
        assert (handle.was_created, handle.status().state, shop.CALLED) == (True, "succeeded", ["charge"])

    def test_form_enqueues(backout_scratch):
        handle = shop.SHOP.enqueue("o-2")
        backout_scratch.settle()
        assert handle.output == "booked"
    """
    run(pytester, tests).assert_outcomes(passed=3)


def test_rehearsal_is_a_fixture(pytester: pytest.Pytester) -> None:
    """A failed assertion tells the story."""
    tests = """
    import shop

    def test_nothing_is_done_twice(backout_rehearse):
        backout_rehearse(shop.SHOP, "o-1", places=["charge:*"]).assert_nothing_done_twice()

    def test_nobody_is_asked(backout_rehearse):
        backout_rehearse(shop.SHOP, "o-1", places=["charge:dies_after_effect"]).assert_nobody_is_asked()
    """
    result = run(pytester, tests)
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*a person is asked about charge: confirmation_missing*", "*step_in_doubt charge*"])


def test_marker_makes_one_test_of_each_place(pytester: pytest.Pytester) -> None:
    """Fixtures that stand before the argument are there when the case runs."""
    tests = """
    import pytest, shop

    @pytest.fixture
    def empty_books():
        shop.CALLED.clear()

    @pytest.mark.backout_rehearsal(shop.SHOP, input="o-1", places=["smooth", "book:fails_*"])
    def test_charge_is_refunded(empty_books, rehearsed):
        refunded = [] if rehearsed.state == "succeeded" else ["refund"]
        assert shop.CALLED == ["charge", *refunded]

    MADE_UP = shop.make_stand_ins(shop.SHOP)

    @pytest.mark.backout_rehearsal(shop.SHOP, input="o-1", stand_ins=MADE_UP, places=["charge:*"])
    def test_nothing_is_forgotten(empty_books, rehearsed):
        assert not rehearsed.is_problem
        assert shop.CALLED == []
    """
    result = run(pytester, tests)
    result.assert_outcomes(passed=3 + 17)
    result.stdout.fnmatch_lines(["*::test_charge_is_refunded?book:fails_after_effect? PASSED*"])


def test_marker_that_cannot_be_used_says_why(pytester: pytest.Pytester) -> None:
    """No test is silently left out, and nobody has to read a traceback of ours."""
    marked = "import pytest, shop\n\n@pytest.mark.backout_rehearsal{}\ndef test_it({}): ..."
    pytester.makepyfile(
        test_no_input=marked.format("(shop.SHOP)", "rehearsed"),
        test_no_argument=marked.format('(shop.SHOP, input="o")', ""),
        test_no_place=marked.format('(shop.SHOP, input="o", places=["nothing"])', "rehearsed"),
    )
    result = run(pytester, "def test_no_marker(rehearsed): ...", "--continue-on-collection-errors")
    result.assert_outcomes(errors=4)
    for said in (
        "*required keyword-only argument*input*write @pytest.mark.backout_rehearsal*",
        "*is marked backout_rehearsal and has no argument `rehearsed`*",
        "*has no place 'nothing'*",
        "*`rehearsed` needs a marker: @pytest.mark.backout_rehearsal*",
    ):
        result.stdout.fnmatch_lines([said])


def test_plugin_is_described_and_disturbs_nobody(pytester: pytest.Pytester) -> None:
    """The marker and the fixtures are listed."""
    loading = ("-p", "no:cacheprovider", "-p", "backout.testing.pytest_plugin")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
        markers = pytester.runpytest_inprocess(*loading, "--markers")
        fixtures = pytester.runpytest_inprocess(*loading, "--fixtures")
    markers.stdout.fnmatch_lines(["@pytest.mark.backout_rehearsal(pipeline, *"])
    fixtures.stdout.fnmatch_lines(["backout_scratch*", "*A scratch app and ledger*"])


def test_loading_the_plugin_imports_nothing_heavy() -> None:
    """It is loaded in every project that has backout installed."""
    heavy = ("alembic", "celery", "kombu", "pydantic", "rich", "sqlalchemy")
    code = f"import sys, backout.testing.pytest_plugin; print([name for name in {heavy} if name in sys.modules])"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert ended.stdout.strip() == "[]"

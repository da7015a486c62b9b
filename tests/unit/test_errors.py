"""Every error: a stable code, a message with what to do, and the same error after pickling."""

from __future__ import annotations

import copy
import inspect
import pickle
from datetime import timedelta
from typing import Any

import pytest

from backout import errors
from backout.errors import BackoutError
from backout.states import ReviewReason

ABSTRACT = {"BackoutError", "RequestError", "StepError", "StepSignal"}
"""Families: nobody raises them, everybody may catch them."""

EXAMPLES: list[BackoutError] = [
    errors.DefinitionError(subject="step 'x'", problem="it has no action", remedy="Name one."),
    errors.ConfigurationError(problem="no database is named", remedy="Set backout_database_url"),
    errors.SchemaMismatch(database="sqlite:///x", expected="0001", found=None),
    errors.SchemaMismatch(database="sqlite:///x", expected="0001", found="0000"),
    errors.InvalidInput(pipeline="p", step="s", problems=("id: missing", "amount: not a number")),
    errors.PayloadTooLarge(what="the input", size_bytes=2_000_000, limit_bytes=1_048_576),
    errors.UnknownPipeline(pipeline="p", known=("q", "r")),
    errors.UnknownPipeline(pipeline="p", known=()),
    errors.UnknownRun(run_id="0190"),
    errors.UnknownRun(run_id="0190", matches=2),
    errors.OutputMissing(run_id="0190", step="s"),
    errors.WaitTimedOut(run_id="0190", timeout_seconds=1.5, state="running"),
    errors.ActionRefused(verb="rollback", run_id="0190", why="the run is rolled back", remedy="Look at it."),
    errors.StateChanged(verb="resume", run_id="0190", expected="parked", found="running", by="last: by ada"),
    errors.LedgerUnavailable(database="sqlite:///x", problem="refused"),
    errors.MessageRefused(task="shop.charge", problem="it names no run"),
    errors.StepFailed(run_id="0190", step="s", attempt=2, error="ValueError: x", consequence="rolling back"),
    errors.StepTimedOut(step="s", timeout_seconds=30),
    errors.RetryStep(),
    errors.RetryStep("later", after=timedelta(seconds=5)),
    errors.FailStep("declined"),
    errors.FailStep("declined", no_effect=True),
    errors.InDoubt("no answer within 10 s"),
    errors.ParkRun("no stock"),
    errors.AskHuman("credentials_failed"),
    errors.AskHuman(ReviewReason.SYSTEMS_DISAGREE, "12 here, 13 there"),
    errors.SkipStep("nothing to do"),
]


def all_classes() -> list[type[BackoutError]]:
    found = [item for _, item in inspect.getmembers(errors, inspect.isclass) if issubclass(item, BackoutError)]
    return sorted(found, key=lambda item: item.__name__)


def name_of(item: Any) -> str:
    return type(item).__name__ if isinstance(item, BackoutError) else item.__name__


def test_each_class_has_an_example() -> None:
    """No error is left out of the tests below."""
    assert {type(example).__name__ for example in EXAMPLES} == {item.__name__ for item in all_classes()} - ABSTRACT


def test_codes_are_unique() -> None:
    """A code is a heading in the documentation: one error, one heading."""
    codes = [item.code for item in all_classes()]
    assert sorted(codes) == sorted(set(codes))


@pytest.mark.parametrize("kind", all_classes(), ids=name_of)
class TestClass:
    def test_its_code_is_its_own_and_says_its_name(self, kind: type[BackoutError]) -> None:
        """A code that was inherited would lead to the wrong page."""
        assert "code" in vars(kind)
        assert kind.code.replace("_", "") == kind.__name__.lower()

    def test_it_is_drawn_in_the_tree(self, kind: type[BackoutError]) -> None:
        """The docstring of the module shows every error below its family."""
        lines = (errors.__doc__ or "").splitlines()
        (drawn,) = [line for line in lines if line.strip(" │├└─").partition(" ")[0] == kind.__name__]
        depth = (len(drawn) - len(drawn.lstrip(" │├└─")) - 4) // 4
        assert depth == len([base for base in kind.__mro__ if issubclass(base, BackoutError)]) - 1

    def test_it_says_who_must_act(self, kind: type[BackoutError]) -> None:
        """Each class has a docstring."""
        assert kind.__doc__


@pytest.mark.parametrize("error", EXAMPLES, ids=name_of)
class TestExample:
    @pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
    def test_it_survives_pickling(self, error: BackoutError, protocol: int) -> None:
        """Celery sends errors between processes: type, message and fields arrive."""
        arrived = pickle.loads(pickle.dumps(error, protocol))
        assert type(arrived) is type(error)
        assert (str(arrived), arrived.args) == (str(error), error.args)
        assert vars(arrived) == vars(error)

    def test_it_survives_pickling_twice(self, error: BackoutError) -> None:
        """A result backend pickles what a worker pickled."""
        once = pickle.loads(pickle.dumps(error))
        assert vars(pickle.loads(pickle.dumps(once))) == vars(error)

    def test_it_can_be_copied(self, error: BackoutError) -> None:
        """A copy is the same error."""
        assert vars(copy.copy(error)) == vars(error)
        assert str(copy.deepcopy(error)) == str(error)

    def test_a_note_arrives_too(self, error: BackoutError) -> None:
        """What somebody added on the way is not lost."""
        noted = copy.copy(error)
        noted.add_note("seen in the warehouse")
        assert pickle.loads(pickle.dumps(noted)).__notes__ == ["seen in the warehouse"]

    def test_its_message_is_a_text_without_leftovers(self, error: BackoutError) -> None:
        """No field is forgotten in the message as `None`, and no brace is left of a template."""
        assert str(error)
        assert "None" not in str(error)
        assert "{" not in str(error)

    def test_its_fields_are_attributes(self, error: BackoutError) -> None:
        """A program can act on the fields without reading the message."""
        parameters = [name for name in inspect.signature(type(error)).parameters if name not in ("args", "kwargs")]
        assert set(parameters) <= vars(error).keys()


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (errors.DefinitionError(subject="step 'x'", problem="p", remedy="Do this."), ["step 'x'", "p", "Do this."]),
        (errors.SchemaMismatch(database="d", expected="0002", found="0001"), ["'0001'", "'0002'", "ledger upgrade"]),
        (errors.SchemaMismatch(database="d", expected="0002", found=None), ["has no backout tables"]),
        (errors.InvalidInput(pipeline="p", step="s", problems=("a", "b")), ["a; b", "Nothing was recorded"]),
        (errors.PayloadTooLarge(what="it", size_bytes=2_000_000, limit_bytes=5), ["2,000,000 bytes", "pass its id"]),
        (errors.UnknownPipeline(pipeline="p", known=("q", "r")), ["known: q, r"]),
        (errors.UnknownPipeline(pipeline="p", known=()), ["known: none"]),
        (errors.UnknownRun(run_id="01", matches=3), ["3 runs start with '01'"]),
        (errors.WaitTimedOut(run_id="01", timeout_seconds=2, state="running"), ["still running", "2 s", "goes on"]),
        (errors.MessageRefused(task="t", problem="p"), ["pipeline.enqueue"]),
        (errors.LedgerUnavailable(database="d", problem="p"), ["try again"]),
    ],
)
def test_a_message_holds_what_happened_and_what_to_do(error: BackoutError, words: list[str]) -> None:
    """Expected, found, and the next move, in one text."""
    assert [word for word in words if word not in str(error)] == []


def test_a_review_needs_a_reason_code() -> None:
    """A wrong word is refused where it is written, not when the review is opened."""
    with pytest.raises(ValueError, match="boredom"):
        errors.AskHuman("boredom")


def test_a_review_without_words_says_its_code() -> None:
    """The reviewer always reads a reason."""
    assert str(errors.AskHuman("credentials_failed")) == "credentials_failed"

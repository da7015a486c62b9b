"""What nobody may see of a run: which fields its plan names, and their values wherever else they turn up. Pure.

The engine and the user's functions work with the true values; whoever shows something asks here first.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from backout.events import Event
from backout.ledger.records import Fact, StepRecord
from backout.pipelines.contract import Plan
from backout.pipelines.quotes import MASK, Quotes
from backout.states import Direction

EVERYTHING: Final = "*"
ENGINE_WORDS: Final = frozenset(
    {
        "answer",
        "attempt",
        "code",
        "compensations",
        "decision",
        "delay_seconds",
        "direction",
        "done",
        "from",
        "irreversible_step",
        "last_successful_step",
        "no_effect",
        "not_to_be_repeated",
        "outcome",
        "review",
        "review_id",
        "round",
        "run_id",
        "state",
        "task",
        "type",
        "unchanged_since",
        "undone",
        "would_be_undone",
    }
)
"""Where details, answers, errors and evidence hold words of the engine and of the plan. They are never the data of a
run, also where one of them is spelt like a sensitive value, and whoever shows them reads them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fields:
    """Fields of one document that nobody may see.

    Attributes:
        names: at any depth, also inside lists.
        paths: from the root; lists on the way do not count.
        is_all: the whole document.
    """

    names: frozenset[str]
    paths: frozenset[tuple[str, ...]]
    is_all: bool = False

    @classmethod
    def of(cls, declared: Iterable[str]) -> Self:
        """Return what is meant by the words of a definition: `"card"`, `"customer.iban"`, `"*"`."""
        words = frozenset(declared)
        dotted = frozenset(tuple(word.split(".")) for word in words if "." in word)
        plain = frozenset(word for word in words if "." not in word and word != EVERYTHING)
        return cls(names=plain, paths=dotted, is_all=EVERYTHING in words)

    def cover(self, document: Any) -> Any:
        """Return a document with its hidden fields masked. One that is not there (`None`) stays so."""
        return self._replace(document, (), lambda _: MASK)

    def find(self, document: Any) -> list[Any]:
        """Return what is hidden in a document."""
        found: list[Any] = []
        self._replace(document, (), found.append)
        return found

    def hides(self, name: str) -> bool:
        """Return whether a field of this name is hidden at the root of a document."""
        return self.is_all or name in self.names or (name,) in self.paths

    def _replace(self, document: Any, path: tuple[str, ...], use: Callable[[Any], Any]) -> Any:
        if self.is_all:
            return None if document is None else use(document)
        if isinstance(document, Mapping):
            return {name: self._replace_field(name, item, (*path, name), use) for name, item in document.items()}
        if isinstance(document, list | tuple):
            return [self._replace(item, path, use) for item in document]
        return document

    def _replace_field(self, name: str, item: Any, path: tuple[str, ...], use: Callable[[Any], Any]) -> Any:
        if name in self.names or path in self.paths:
            return use(item)
        return self._replace(item, path, use)


class Secrets:
    """What must not be shown of one run.

    Args:
        plan: as recorded with the run; `None`: it cannot be read, and all data of the run counts as sensitive.
        run_input: of the run.
        steps: its rows, as far as they are known.
        facts: of its entries: ids that a later attempt has replaced, outputs that were not applied or were given up.
    """

    def __init__(
        self,
        plan: Plan | None,
        run_input: Any,
        steps: Iterable[StepRecord] = (),
        facts: Iterable[Fact] = (),
    ) -> None:
        self.are_none: Final = plan is not None and not declares_any(plan)
        of_input = (EVERYTHING,) if plan is None else plan.sensitive
        self._of_input: Final = Fields.of(of_input)
        # What is secret where it comes in is secret wherever it is handed on; its path leads there from the input only.
        shared = of_input if plan is None else tuple(self._of_input.names)
        contracts = () if plan is None or self.are_none else plan.steps
        of_steps = ((*shared, *step.sensitive) for step in contracts)
        self._of_steps: Final = tuple(map(Fields.of, of_steps))
        self._elsewhere: Final = Fields.of(shared)
        self._id_names: Final = {name for fields in self._of_steps for name in fields.names}
        self._quotes: Final = Quotes(() if self.are_none else self._values(run_input, steps, facts))

    def _values(self, run_input: Any, steps: Iterable[StepRecord], facts: Iterable[Fact]) -> Iterator[Any]:
        yield from self._of_input.find(run_input)
        for fact in facts:
            fields, detail = self.fields_of(fact.position), fact.detail
            if isinstance(detail, Mapping):
                output = detail.get("output")
                yield from fields.find(_inside(output) if keeps_answer(fact.event, fact.direction) else output)
                if _is_external_id(detail) and fields.hides(detail["name"]):
                    yield detail["value"]
        for row in steps:
            fields = self.fields_of(row.position)
            yield from fields.find(_inside(row.output) if row.direction.is_question else row.output)
            hidden_ids = {name: value for name, value in row.external_ids.items() if fields.hides(name)}
            self._id_names.update(hidden_ids)
            yield from hidden_ids.values()

    def fields_of(self, position: int | None) -> Fields:
        """Return the fields of a step's output and of its external ids; `None`: of no step."""
        is_known = position is not None and position < len(self._of_steps)
        return self._of_steps[position] if is_known and position is not None else self._elsewhere

    def hide(self, text: str) -> str:
        """Return a text in which no sensitive value of the run stands, whatever its case."""
        return text if self.are_none else self._quotes.hide(text)

    def hide_optional(self, text: str | None) -> str | None:
        """Return as `hide`; `None` stays so."""
        return None if text is None else self.hide(text)

    def cover_input(self, document: Any) -> Any:
        """Return the run's input without what is sensitive."""
        return self._hide_in(self._of_input.cover(document))

    def cover_output(self, document: Any, position: int | None) -> Any:
        """Return what a step has returned without what is sensitive."""
        return self._hide_in(self.fields_of(position).cover(document))

    def cover_run_output(self, document: Any) -> Any:
        """Return the output of the run, which is that of its last step, without what is sensitive."""
        return self.cover_output(document, len(self._of_steps) - 1 if self._of_steps else None)

    def cover_ids(self, ids: Mapping[str, Any]) -> dict[str, Any]:
        """Return external ids, name to id, without those that are sensitive in whichever step."""
        covered = {name: MASK if self._hides_id(name) else self._hide_in(value) for name, value in ids.items()}
        return self._hide_names(covered)

    def _hides_id(self, name: str) -> bool:
        return name in self._id_names or self._elsewhere.hides(name)

    def cover_facts(self, document: Any, position: int | None = None, *, is_answer: bool = False) -> Any:
        """Return what the engine has written down about a step or a run, without what is sensitive.

        Args:
            document: the detail of an entry, the evidence of a review, an error, what a task would be given.
            position: of the step that it is about; `None`: about no step.
            is_answer: its `output` is an answer to a question, which has the output of the step inside.

        Returns:
            The document with the engine's own words and all its numbers as they are: data has its places in it, which
            are `output`, `external_ids` and `value`; everywhere else it is quoted in texts.
        """
        if self.are_none:
            return document
        if isinstance(document, Mapping):
            if _is_external_id(document):
                [(name, value)] = self.cover_ids({document["name"]: document["value"]}).items()
                return {"name": name, "value": value}
            return {name: self._cover_fact(name, item, position, is_answer) for name, item in document.items()}
        if isinstance(document, list | tuple):
            return [self.cover_facts(item, position) for item in document]
        return self.hide(document) if isinstance(document, str) else document

    def _cover_fact(self, name: str, item: Any, position: int | None, is_answer: bool) -> Any:
        if name in ENGINE_WORDS:
            return item
        if name == "output" and not is_answer:
            return self.cover_output(item, position)
        if name == "external_ids" and isinstance(item, Mapping):
            return self.cover_ids(item)
        return self.cover_facts(item, position)

    def _hide_in(self, document: Any) -> Any:
        """Return a document in whose texts, numbers and names no sensitive value stands."""
        if self.are_none or document is None or isinstance(document, bool):
            return document
        if isinstance(document, str):
            return self.hide(document)
        if isinstance(document, int | float):
            return document if self.hide(json.dumps(document)) == json.dumps(document) else MASK
        if isinstance(document, Mapping):
            return self._hide_names({name: self._hide_in(item) for name, item in document.items()})
        return [self._hide_in(item) for item in document] if isinstance(document, list | tuple) else document

    def _hide_names(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """Return a mapping with its names hidden; those that become the same are numbered: `[masked]`, `[masked] 2`."""
        shown: dict[str, Any] = {}
        for name, item in document.items():
            hidden, number = self.hide(name), 1
            told = hidden
            while told in shown:
                number += 1
                told = f"{hidden} {number}"
            shown[told] = item
        return shown


def declares_any(plan: Plan) -> bool:
    """Return whether there is anything in runs of a plan that nobody may see."""
    return bool(plan.sensitive) or any(step.sensitive for step in plan.steps)


def declares_outputs(plan: Plan) -> bool:
    """Return whether steps of a plan may return or record something that nobody may see."""
    return any(step.sensitive for step in plan.steps) or bool(Fields.of(plan.sensitive).names)


def _is_external_id(detail: Mapping[str, Any]) -> bool:
    """Return whether this is how an entry tells an external id."""
    return detail.keys() == {"name", "value"}


def keeps_answer(event: Event, direction: Direction | None) -> bool:
    """Return whether the `output` that an entry keeps of a row is the answer to a question."""
    is_of_row = event in (Event.STEP_REOPENED, Event.STEP_SETTLED)
    return is_of_row and direction is not None and direction.is_question


def _inside(answer: Any) -> Any:
    """Return the output of the step that an answer to a question has; `None`: it has none."""
    return answer.get("output") if isinstance(answer, Mapping) else answer


NO_SECRETS: Final = Secrets(Plan(pipeline="", steps=()), None)
"""Of a run of which everything may be seen."""

"""What nobody may see of a run: which fields its plan names, and their values wherever else they turn up. Pure.

The engine and the user's functions work with the true values; whoever shows something asks here first.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from backout.ledger.records import StepRecord
from backout.pipelines.contract import Plan
from backout.pipelines.quotes import MASK, Quotes
from backout.states import Direction

EVERYTHING: Final = "*"


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
        facts: position and detail of entries: ids that a later attempt has replaced, outputs that were not applied.
    """

    def __init__(
        self,
        plan: Plan | None,
        run_input: Any,
        steps: Iterable[StepRecord] = (),
        facts: Iterable[tuple[int | None, Any]] = (),
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

    def _values(
        self, run_input: Any, steps: Iterable[StepRecord], facts: Iterable[tuple[int | None, Any]]
    ) -> Iterator[Any]:
        yield from self._of_input.find(run_input)
        for position, detail in facts:
            if isinstance(detail, Mapping):
                yield from self.fields_of(position).find(detail.get("output"))
                if _is_external_id(detail) and self.fields_of(position).hides(detail["name"]):
                    yield detail["value"]
        for row in steps:
            fields = self.fields_of(row.position)
            yield from fields.find(_output_of(row))
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
        return {name: MASK if self._hides_id(name) else self._hide_in(value) for name, value in ids.items()}

    def _hides_id(self, name: str) -> bool:
        return name in self._id_names or self._elsewhere.hides(name)

    def cover_facts(self, document: Any, position: int | None = None) -> Any:
        """Return what the engine has written down about a step or a run, without what is sensitive.

        Args:
            document: the detail of an entry, the evidence of a review, an error, what a task would be given.
            position: of the step that it is about; `None`: about no step.
        """
        if self.are_none:
            return document
        if isinstance(document, Mapping):
            if _is_external_id(document):
                [(name, value)] = self.cover_ids({document["name"]: document["value"]}).items()
                return {"name": name, "value": value}
            return {name: self._cover_fact(name, item, position) for name, item in document.items()}
        if isinstance(document, list | tuple):
            return [self.cover_facts(item, position) for item in document]
        return self._hide_in(document)

    def _cover_fact(self, name: str, item: Any, position: int | None) -> Any:
        if name == "output":
            return self.cover_output(item, position)
        if name == "external_ids" and isinstance(item, Mapping):
            return self.cover_ids(item)
        return self.cover_facts(item, position)

    def _hide_in(self, document: Any) -> Any:
        """Return a document in whose texts and numbers no sensitive value stands."""
        if self.are_none or document is None or isinstance(document, bool):
            return document
        if isinstance(document, str):
            return self.hide(document)
        if isinstance(document, int | float):
            return document if self.hide(json.dumps(document)) == json.dumps(document) else MASK
        if isinstance(document, Mapping):
            return {name: self._hide_in(item) for name, item in document.items()}
        return [self._hide_in(item) for item in document] if isinstance(document, list | tuple) else document


def declares_any(plan: Plan) -> bool:
    """Return whether there is anything in runs of a plan that nobody may see."""
    return bool(plan.sensitive) or any(step.sensitive for step in plan.steps)


def declares_outputs(plan: Plan) -> bool:
    """Return whether steps of a plan may return or record something that nobody may see."""
    return any(step.sensitive for step in plan.steps) or bool(Fields.of(plan.sensitive).names)


def _is_external_id(detail: Mapping[str, Any]) -> bool:
    """Return whether this is how an entry tells an external id."""
    return detail.keys() == {"name", "value"}


def _output_of(row: StepRecord) -> Any:
    """Return what a row has of its step's output; a question keeps it inside its answer."""
    if row.direction is Direction.RECONCILE and isinstance(row.output, Mapping):
        return row.output.get("output")
    return row.output


NO_SECRETS: Final = Secrets(Plan(pipeline="", steps=()), None)
"""Of a run of which everything may be seen."""

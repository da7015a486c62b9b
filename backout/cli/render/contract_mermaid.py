"""A pipeline's contract as a Mermaid flowchart: the way forward, the way back dashed, and where a person comes in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from backout.pipelines.contract import OnCompensationFailure, OnFailure, RecoveryKind
from backout.views.contract_words import ContractWords, StepWords, plain

_PLAIN: Final = frozenset(" _,:")
"""What needs no escape in a quoted label, beside letters and digits."""

_STYLES: Final = (
    "classDef step fill:#e7f0ff,stroke:#3867b7,color:#10203a",
    "classDef undo fill:#fff3da,stroke:#a86a00,color:#3a2600,stroke-dasharray:5 4",
    "classDef stays fill:#eef1f4,stroke:#6b7785,color:#1f262d",
    "classDef final fill:#e3f6e8,stroke:#2c8047,color:#0d2e18",
    "classDef irreversible fill:#ffe3e1,stroke:#b3261e,color:#410e0b,stroke-width:3px",
    "classDef person fill:#f6e5fb,stroke:#8a2ea8,color:#2f0b3b",
)
_TAKEN_BACK: Final = (RecoveryKind.COMPENSATE, RecoveryKind.KEEP)
_PERSON: Final = "person"
_ROLLED_BACK: Final = "rolled_back"


def draw_mermaid(words: ContractWords) -> str:
    """Return the text of a flowchart, ready for a `mermaid` block."""
    lines = ["flowchart TD", *(f"    {line}" for line in _draw(words))]
    return "\n".join(lines) + "\n"


def escape_label(text: str) -> str:
    """Return text for a quoted label; what is neither letter nor digit is written by number.

    Source: https://mermaid.js.org/syntax/flowchart.html#entity-codes-to-escape-characters. Everything is escaped, not
    only quotes: `%%{` would start a directive, a backtick Markdown, and `1.` a list.
    """
    return "".join(one if one.isalnum() or one in _PLAIN else f"#{ord(one)};" for one in plain(text))


def _draw(words: ContractWords) -> Iterator[str]:
    yield f"accTitle: {escape_label(f'The contract of {words.pipeline}')}"
    yield from _draw_forward(words)
    edges = [*_draw_undos(words), *_draw_exits(words)]
    yield from edges
    if any(edge.endswith(f"> {_PERSON}") for edge in edges):
        yield f'{_PERSON}{{{{"a person decides"}}}}:::person'
    if any(edge.endswith(f"> {_ROLLED_BACK}") for edge in edges):
        yield f'{_ROLLED_BACK}(["rolled back"]):::final'
    yield from _STYLES


def _draw_forward(words: ContractWords) -> Iterator[str]:
    yield 'enqueued(["enqueued"]):::final'
    for step in words.steps:
        marked = ":::irreversible" if step.recovery is RecoveryKind.IRREVERSIBLE else ":::step"
        yield f'{_forward(step)}["{_two_lines(step.name, step.effect.value)}"]{marked}'
    yield 'succeeded(["succeeded"]):::final'
    names = ["enqueued", *map(_forward, words.steps), "succeeded"]
    yield " ==> ".join(names)


def _draw_undos(words: ContractWords) -> Iterator[str]:
    on_the_way = _undone(words)
    for step in words.steps:
        match step.recovery:
            case RecoveryKind.COMPENSATE:
                yield f'{_back(step)}["{_two_lines(f"undo {step.name}", step.action)}"]:::undo'
            case RecoveryKind.KEEP:
                yield f'{_back(step)}["{_two_lines(step.name, step.action)}"]:::stays'
            case RecoveryKind.IRREVERSIBLE:
                yield f'{_back(step)}["{_two_lines(step.name, step.action)}"]:::irreversible'
        if step in on_the_way:
            continue
        if step.recovery is RecoveryKind.COMPENSATE:
            yield f'{_forward(step)} -. "by hand" .-> {_back(step)}'
        elif step.recovery is not RecoveryKind.NOTHING_TO_UNDO:
            yield f"{_forward(step)} --- {_back(step)}"
    way_back = [_back(step) for step in reversed(on_the_way)]
    if way_back:
        yield " -.-> ".join([*way_back, _ROLLED_BACK])


def _draw_exits(words: ContractWords) -> Iterator[str]:
    for step in words.steps:
        match step.on_failure:
            case OnFailure.ROLLBACK if step.stops_rollback:
                yield f'{_forward(step)} -- "fails" --> {_PERSON}'
            case OnFailure.ROLLBACK:
                yield f'{_forward(step)} -. "fails" .-> {_way_back_from(words, step)}'
            case OnFailure.PARK:
                yield f'parked_{step.number}[/"parked: can be resumed"/]:::person'
                yield f'{_forward(step)} -- "fails" --> parked_{step.number}'
            case OnFailure.CONTINUE:
                following = words.steps[step.number : step.number + 1]
                yield f'{_forward(step)} -- "fails, goes on" --> {_forward(following[0]) if following else "succeeded"}'
            case OnFailure.REVIEW:
                yield f'{_forward(step)} -- "fails" --> {_PERSON}'
        if step.on_undo_failure is OnCompensationFailure.HALT and step in _undone(words):
            yield f'{_back(step)} -. "undo fails" .-> {_PERSON}'


def _undone(words: ContractWords) -> list[StepWords]:
    """Return the steps of the way back: those before the first that cannot be undone (R7)."""
    barrier = next((step.number for step in words.steps if step.recovery is RecoveryKind.IRREVERSIBLE), None)
    before = words.steps if barrier is None else words.steps[: barrier - 1]
    return [step for step in before if step.recovery in _TAKEN_BACK]


def _way_back_from(words: ContractWords, step: StepWords) -> str:
    """Return where the way back begins: a step that failed may have had its effect, and is undone too."""
    found = [other for other in _undone(words) if other.number <= step.number]
    return _back(found[-1]) if found else _ROLLED_BACK


def _forward(step: StepWords) -> str:
    return f"step_{step.number}"


def _back(step: StepWords) -> str:
    return f"back_{step.number}"


def _two_lines(first: str, second: str) -> str:
    return f"{escape_label(first)}<br/>{escape_label(second)}"

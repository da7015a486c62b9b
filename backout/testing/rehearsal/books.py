"""What really happened outside in one rehearsal, as the functions know it, not as the ledger has it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from backout.pipelines.contract import Effect, Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class RehearsedCall:
    """A call of a step's function or of its compensation.

    Attributes:
        step: of the pipeline.
        is_undo: its compensation was called.
        key: the idempotency key, the same for every attempt.
        attempt: 1 for the first.
        had_effect: it returned, so that its effect exists; False when it raised.
    """

    step: str
    is_undo: bool
    key: str
    attempt: int
    had_effect: bool

    @property
    def what(self) -> str:
        """The step's name; `undo <step>` for its compensation."""
        return f"undo {self.step}" if self.is_undo else self.step


class Books:
    """The calls of one rehearsal, in order."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._calls: list[RehearsedCall] = []
        self._outputs: dict[str, Any] = {}

    @property
    def calls(self) -> tuple[RehearsedCall, ...]:
        """The calls of steps and compensations, in order."""
        return tuple(self._calls)

    def write(self, call: RehearsedCall, output: Any = None) -> None:
        """Write down a call that is over."""
        self._calls.append(call)
        if call.had_effect and not call.is_undo:
            self._outputs[call.step] = output

    def has_happened(self, step: str) -> bool:
        """Return whether a step has had its effect, undone or not."""
        return step in self._outputs

    def output_of(self, step: str) -> Any:
        """Return what the step's function returned last."""
        return self._outputs[step]

    def undone(self) -> tuple[str, ...]:
        """Return the steps whose compensation returned, in the order in which it did first."""
        return tuple(dict.fromkeys(call.step for call in self._calls if call.is_undo and call.had_effect))

    def remaining(self) -> list[str]:
        """Return the steps that changed something outside and were not undone, in the order of the pipeline."""
        gone = self.undone()
        changing = [step.name for step in self._plan.steps if step.effect is not Effect.READ]
        return [name for name in changing if self.has_happened(name) and name not in gone]

    def done_twice(self) -> tuple[str, ...]:
        """Return what had an effect more than once. An idempotent function has one under each key."""
        return tuple(what for what, count in self._count_effects().items() if count > 1)

    def _count_effects(self) -> Counter[str]:
        keys: Sequence[tuple[str, str]] = [
            (call.what, call.key) for call in self._calls if call.had_effect and not self._is_read(call)
        ]
        counted = [
            what
            for (what, _key), times in Counter(keys).items()
            for _ in range(1 if what in self._idempotent() else times)
        ]
        return Counter(counted)

    def _is_read(self, call: RehearsedCall) -> bool:
        contract = self._plan.steps[self._plan.position_of(call.step)]
        return contract.effect is Effect.READ and not call.is_undo

    def _idempotent(self) -> set[str]:
        forward = {step.name for step in self._plan.steps if step.idempotent}
        back = {f"undo {step.name}" for step in self._plan.steps if step.compensation and step.compensation.idempotent}
        return forward | back

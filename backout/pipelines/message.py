"""The message of a step: ids only, of constant size, with a text that people can read and search in Flower."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Self
from uuid import UUID

from backout.errors import MessageRefused
from backout.identifiers import RunId, TaskId
from backout.ledger.records import StepKey
from backout.pipelines.contract import CompensationContract, Plan, QuestionContract, StepContract
from backout.states import Direction

MESSAGE_VERSION: Final = 1
KEYWORD: Final = "backout_step"
"""The one keyword argument of a step's task; without it the message is not the engine's."""

LARGEST_COUNT: Final = 2**31
"""No database column of the ledger's counts takes more."""

KILL_GRACE_SECONDS: Final = 30.0
"""Celery's hard limit on prefork comes this long after the step's timeout: only for code that no signal interrupts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepMessage:
    """A message that is to be sent.

    Attributes:
        attempt: the attempt that it is for; a hint, the ledger counts.
        root_id: the task id of the run's first step, so that Flower shows one tree.
        countdown_seconds: Celery delivers it this much later; `None`: at once.
    """

    key: StepKey
    pipeline: str
    step: str
    task: str
    task_id: TaskId
    attempt: int
    parent_id: TaskId | None
    timeout_seconds: float
    options: Mapping[str, Any]
    countdown_seconds: float | None = None

    @classmethod
    def of(
        cls,
        plan: Plan,
        key: StepKey,
        *,
        task_id: TaskId,
        attempt: int = 1,
        parent_id: TaskId | None = None,
    ) -> Self:
        """Return the message of a step of a plan, in the key's direction."""
        step = plan.steps[key.position]
        contract = direction_contract(step, key.direction)
        return cls(
            key=key,
            pipeline=plan.pipeline,
            step=step.name,
            task=contract.task,
            task_id=task_id,
            attempt=attempt,
            parent_id=parent_id,
            timeout_seconds=contract.timeout_seconds,
            options=contract.options,
        )

    @property
    def root_id(self) -> str:
        """The first step's task id, which is the id of the run."""
        return self.key.run_id

    def later(self, seconds: float) -> Self:
        """Return the same message with a countdown."""
        return replace(self, countdown_seconds=seconds)

    def keywords(self) -> dict[str, Any]:
        """Return the task's keyword arguments: JSON, of constant size."""
        return {
            KEYWORD: {
                "version": MESSAGE_VERSION,
                "run": self.key.run_id,
                "round": self.key.round,
                "position": self.key.position,
                "direction": self.key.direction.value,
                "attempt": self.attempt,
            },
        }

    def sending_options(self) -> dict[str, Any]:
        """Return Celery's options for sending it, the user's own among them."""
        options: dict[str, Any] = {
            **self.options,
            "task_id": self.task_id,
            "root_id": self.root_id,
            "argsrepr": "()",
            # A literal of a mapping: Flower parses it and finds `kwargs:run=…`.
            "kwargsrepr": repr(
                {
                    "run": self.key.run_id,
                    "pipeline": self.pipeline,
                    "step": self.step,
                    "direction": self.key.direction.value,
                    "attempt": self.attempt,
                },
            ),
            "serializer": "json",
            "ignore_result": True,
            "time_limit": self.timeout_seconds + KILL_GRACE_SECONDS,
        }
        if self.parent_id is not None:
            options["parent_id"] = self.parent_id
        if self.countdown_seconds is not None:
            options["countdown"] = self.countdown_seconds
        return options


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedMessage:
    """What a worker reads from a message."""

    key: StepKey
    attempt: int


def read_message(task: str, arguments: tuple[Any, ...], keywords: Mapping[str, Any]) -> ReceivedMessage:
    """Read the arguments of a step's task.

    Raises:
        MessageRefused: they are not a message of this engine, or of a version that it does not know.
    """
    body = keywords.get(KEYWORD)
    if arguments or not isinstance(body, Mapping):
        raise MessageRefused(task=task, problem="it was not sent by the engine")
    if body.get("version") != MESSAGE_VERSION:
        raise MessageRefused(
            task=task,
            problem=f"it has version {body.get('version')!r}, this worker knows {MESSAGE_VERSION}",
        )
    try:
        key = StepKey(
            run_id=RunId(str(UUID(body["run"]))),
            round=_count(body["round"]),
            position=_count(body["position"]),
            direction=Direction(body["direction"]),
        )
        return ReceivedMessage(key=key, attempt=_count(body["attempt"]))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise MessageRefused(task=task, problem=f"it is damaged ({error!r})") from error


def _count(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < LARGEST_COUNT:
        message = f"{value!r} is no count"
        raise ValueError(message)
    return value


def direction_contract(
    step: StepContract, direction: Direction
) -> StepContract | CompensationContract | QuestionContract:
    """Return the contract of what runs for a step in one direction.

    Raises:
        LookupError: the step has no such companion.
    """
    companions: dict[Direction, CompensationContract | QuestionContract | None] = {
        Direction.COMPENSATION: step.compensation,
        Direction.RECONCILE: step.reconcile,
        Direction.VERIFY: step.verify,
    }
    if direction is Direction.FORWARD:
        return step
    companion = companions[direction]
    if companion is None:
        message = f"step {step.name!r} has no {direction.value} function"
        raise LookupError(message)
    return companion

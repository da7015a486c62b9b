"""The pipelines that are explored, and how much may go wrong with each."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from backout.pipelines.contract import Effect, OnCompensationFailure, OnFailure, RecoveryKind
from tests.model.model import Model
from tests.model.pipelines import ModelStep, Result, model_step
from tests.model.world import Budget

FINAL: Final = frozenset({Result.FINAL})
CUT: Final = FINAL | {Result.TIMEOUT}
LOUD: Final = CUT | {Result.RETRY}
HONEST: Final = LOUD | {Result.NO_EFFECT}
EVERY: Final = HONEST | {Result.SKIP, Result.PARK, Result.HUMAN}

KINDS: Final[Mapping[str, Mapping[str, Any]]] = MappingProxyType(
    {
        "once": {"before": HONEST},
        "idempotent": {"idempotent": True, "before": HONEST | {Result.SKIP}},
        "reconciled": {"reconcile": True, "before": HONEST},
        "idempotent and reconciled": {"idempotent": True, "reconcile": True, "before": HONEST},
        "read": {"effect": Effect.READ, "recovery": RecoveryKind.NOTHING_TO_UNDO, "idempotent": True, "before": CUT},
        "kept": {"recovery": RecoveryKind.KEEP, "before": CUT},
        "irreversible": {"recovery": RecoveryKind.IRREVERSIBLE, "before": HONEST},
        "idempotent and irreversible": {
            "recovery": RecoveryKind.IRREVERSIBLE,
            "idempotent": True,
            "before": HONEST | {Result.SKIP},
        },
        "published": {"effect": Effect.PUBLISH, "verify": True, "reconcile": True, "before": CUT},
        "passed": {"on_failure": OnFailure.CONTINUE, "before": HONEST},
        "passed and reconciled": {"on_failure": OnFailure.CONTINUE, "reconcile": True, "before": HONEST},
        "parked": {"on_failure": OnFailure.PARK, "before": EVERY},
        "reviewed": {"on_failure": OnFailure.REVIEW, "before": CUT},
        "undone once": {"undo_idempotent": False, "before": FINAL},
        "undo may fail": {"undo_on_failure": OnCompensationFailure.CONTINUE, "before": FINAL},
    }
)
"""The contracts of the steps, and how their functions may end without an effect."""


def steps(*kinds: str, **values: Any) -> tuple[ModelStep, ...]:
    """Return a pipeline of these kinds of steps."""
    return tuple(model_step(f"{number} {kind}", **{**KINDS[kind], **values}) for number, kind in enumerate(kinds))


def model(*kinds: str, budget: Budget, quiet: bool = False, **values: Any) -> Model:
    """Return a model of a pipeline; a quiet one fails only for good, and neither its undos nor its questions fail."""
    more: dict[str, Any] = {"undo_fails": False, "question_fails": False, "before": FINAL} if quiet else {}
    return Model(name=", ".join(kinds), pipeline=steps(*kinds, **more), budget=budget, **values)


SMALL: Final = (
    model("once", budget=Budget()),
    model("once", budget=Budget(crashes=1, duplicates=1, losses=1)),
    model("once", budget=Budget(crashes=2)),
    model("idempotent", budget=Budget(crashes=1, zombies=1)),
    model("idempotent", budget=Budget(crashes=2), has_deadline=True),
    model("reconciled", budget=Budget(crashes=1, duplicates=1)),
    model("reconciled", budget=Budget(crashes=1, zombies=1)),
    model("irreversible", budget=Budget(crashes=1, zombies=1)),
    model("idempotent and irreversible", budget=Budget(crashes=1, zombies=1)),
    model("once", budget=Budget(duplicates=1, unknown_tasks=1, old_workers=1)),
    model("read", "once", budget=Budget(crashes=1, duplicates=1), quiet=True),
    model("published", "once", budget=Budget(crashes=1, zombies=1), quiet=True),
    model("passed", "undo may fail", budget=Budget(crashes=1)),
    model("passed and reconciled", "reconciled", budget=Budget(zombies=1), quiet=True),
    model("parked", "reviewed", budget=Budget(crashes=1, zombies=1)),
    model("idempotent", "irreversible", "once", budget=Budget(zombies=1), quiet=True),
    model("once", "kept", "undone once", budget=Budget(old_workers=1, losses=1), quiet=True),
    model("once", "reconciled", "once", budget=Budget(crashes=1, duplicates=1, losses=1), quiet=True),
    model("reconciled", "passed and reconciled", "once", budget=Budget(crashes=1), quiet=True, chain_links=1),
)
"""Explored with every test run."""
LARGE: Final = (
    model("once", budget=Budget(crashes=2, duplicates=1, losses=1, old_workers=1)),
    model("idempotent", budget=Budget(crashes=2, duplicates=1, losses=1, zombies=1)),
    model("reconciled", budget=Budget(crashes=2, duplicates=1, zombies=1)),
    model("idempotent and reconciled", budget=Budget(crashes=2, zombies=1), has_deadline=True),
    model("once", "once", budget=Budget(crashes=1, duplicates=1, losses=1)),
    model("idempotent", "reconciled", budget=Budget(crashes=1, zombies=1)),
    model("reconciled", "reconciled", budget=Budget(crashes=2), quiet=True),
    model("published", "reconciled", budget=Budget(crashes=2, zombies=1), quiet=True),
    model("passed and reconciled", "undo may fail", budget=Budget(crashes=2)),
    model("idempotent", "irreversible", "once", budget=Budget(crashes=1, zombies=1)),
    model("once", "reconciled", "idempotent", budget=Budget(crashes=1, duplicates=1, losses=1, zombies=1), quiet=True),
    model("passed and reconciled", "undone once", "once", budget=Budget(crashes=1, duplicates=1), chain_links=1),
)
"""Explored by `python -m tests.model`, which takes minutes."""

TOLD: Final = (
    model("idempotent", budget=Budget(crashes=2, zombies=1, old_workers=1), has_deadline=True),
    model("parked", budget=Budget(crashes=1, unknown_tasks=1)),
    model("published", "undone once", budget=Budget(crashes=2, zombies=1)),
    model("passed and reconciled", "parked", "undo may fail", budget=Budget(crashes=1, zombies=1), chain_links=1),
    model("reviewed", "irreversible", "idempotent and reconciled", budget=Budget(crashes=2)),
)
"""Replayed on a real ledger: between them they write everything that the ledger writes."""

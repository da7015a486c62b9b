"""The contracts of a pipeline as a table that people can argue about, and its warnings."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from backout.cli.render.snake import Snake
from backout.pipelines.contract import (
    CompensationContract,
    OnCompensationFailure,
    OnFailure,
    Plan,
    RecoveryKind,
    RetryRule,
    StepContract,
)
from backout.pipelines.warnings import ContractWarning
from backout.views.contract_words import last_name, plain, say_action, say_fields, say_retry
from backout.views.words import clean, say_setting

_AFTER_FAILURE = {
    OnFailure.ROLLBACK: "then rollback",
    OnFailure.PARK: "then park",
    OnFailure.CONTINUE: "then continue",
    OnFailure.REVIEW: "then ask a person",
}
_AFTER_FAILED_UNDOING = {
    OnCompensationFailure.HALT: "then ask a person",
    OnCompensationFailure.CONTINUE: "then continue",
}


def draw_pipeline(plan: Plan) -> Table:
    """Return the contracts of a pipeline's steps, in their order."""
    table = Table(
        title=Text(clean(plan.pipeline), style="bold"),
        title_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        leading=1,
    )
    table.add_column("step")
    table.add_column("effect", overflow="fold")
    table.add_column("recovery action", overflow="fold")
    table.add_column("attempts", overflow="fold")
    table.add_column("cut off in the middle", overflow="fold")
    for step in plan.steps:
        table.add_row(
            Snake(clean(step.name), style="bold"),
            _say_effect(step),
            _say_recovery(step),
            _say_attempts(step.timeout_seconds, step.retry, _AFTER_FAILURE[step.on_failure]),
            _say_doubt(step),
        )
    masked = _list_masked(plan)
    if masked:
        table.caption = Text(f"shown masked: {masked}", style="dim")
        table.caption_justify = "left"
    return table


def _list_masked(plan: Plan) -> str:
    """Return the fields that nobody is shown: `card_number; charge_card: token`."""
    told = [plain(say_fields(plan.sensitive)).replace("`", "")] if plan.sensitive else []
    for step in plan.steps:
        if step.sensitive:
            told.append(f"{clean(step.name)}: {plain(say_fields(step.sensitive)).replace('`', '')}")
    return "; ".join(told)


def draw_warnings(warnings: Sequence[ContractWarning]) -> RenderableType:
    """Return warnings, each with its remedy."""
    parts: list[RenderableType] = []
    for warning in warnings:
        problem = Text.assemble(("! ", "bold yellow"), (clean(warning.step), "bold"), f": {clean(warning.problem)}.")
        parts += [problem, Padding(Text(f"{clean(warning.remedy)}.", style="dim"), (0, 0, 0, 2))]
    return Group(*parts)


def _say_attempts(timeout_seconds: float, retry: RetryRule, after_failure: str) -> str:
    return f"timeout {say_setting(timeout_seconds)}\n{say_retry(retry)}\n{after_failure}"


def _say_recovery(step: StepContract) -> Text:
    if step.compensation is not None:
        return _say_compensation(step.compensation)
    return Text(say_action(step), style="yellow" if step.recovery is RecoveryKind.IRREVERSIBLE else "")


def _say_compensation(undoing: CompensationContract) -> Text:
    how = _say_attempts(undoing.timeout_seconds, undoing.retry, _AFTER_FAILED_UNDOING[undoing.on_failure])
    return Text.assemble(clean(undoing.action), (f"\n{how}", "dim"))


def _say_effect(step: StepContract) -> Text:
    seen = f"\nuntil {last_name(step.verify.task)} sees it: {say_retry(step.verify.retry)}" if step.verify else ""
    return Text.assemble(step.effect.value, (seen, "dim"))


def _say_doubt(step: StepContract) -> str:
    """Return what follows when an attempt is cut off in the middle (R8)."""
    if step.idempotent:
        return "runs again (idempotent)"
    if step.reconcile is not None:
        return f"asks {last_name(step.reconcile.task)}: {say_retry(step.reconcile.retry)}"
    return "asks a person"

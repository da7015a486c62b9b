"""What the demo prints; every figure is from the ledger, the books or the processes."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from backout.cli.demo.books import Effect
from backout.cli.demo.broker import OpenBroker
from backout.cli.demo.ending import NextStep
from backout.cli.demo.orders import Order
from backout.cli.demo.stage import Stage
from backout.cli.demo.verdict import Check, Evidence
from backout.cli.demo.worker import CHILDREN, Killed, Worker
from backout.cli.render.page import draw_run
from backout.cli.render.tones import draw_mark
from backout.errors import InvalidInput
from backout.ledger.records import EntryRecord
from backout.states import StepState
from backout.views.clock import Clock
from backout.views.marks import RUN_MARKS
from backout.views.picture import RunPicture
from backout.views.words import clean, join_words, say_count, say_seconds

INDENT = "  "
FACT_WIDTH = len(INDENT) + len("SIGKILL")


class Screen:
    """The lines of the demo, in the order in which they are needed."""

    def __init__(self, console: Console) -> None:
        self.console = console

    def opening(self, stage: Stage, *, broker: OpenBroker, database: str, orders: Path, count: int) -> None:
        """Say where everything is, before anything runs."""
        self.console.print(Text("backout demo", style="bold"))
        self.say(
            "A shop delivers orders in four steps: reserve_stock, charge_card, book_courier, send_receipt. Warehouse, "
            "bank, courier and mailer are outside, and keep books of their own."
        )
        answers = f"answers after {say_seconds(stage.answer_seconds)}" if stage.answer_seconds else "answers at once"
        facts = [
            ("orders", f"{orders}, {count} entries" if count > 1 else f"{orders}, 1 entry"),
            ("broker", broker.shown),
            ("ledger", database),
            ("books", f"{stage.books_path}; everybody outside {answers}"),
        ]
        for name, value in facts:
            self._fact(name, value)

    def starting(self) -> AbstractContextManager[object]:
        """Show, on a terminal, that a worker is being started, until the block ends."""
        return self.console.status(Text("a Celery worker is starting", style="dim"))

    def started(self, worker: Worker) -> None:
        """Say which worker has answered."""
        children = len(worker.process_ids()) - 1
        what = f"Celery, prefork, -c {CHILDREN}; process {worker.pid} and {children} children"
        self._fact("worker", f"{worker.name}: {what}")

    def act(self, title: str) -> None:
        """Begin an act."""
        self.console.print()
        self.console.print(Rule(Text(title, style="bold"), align="left", style="dim"))

    def say(self, text: str) -> None:
        """Print a sentence."""
        self._print(Text(text))

    def refused(self, order_id: str, error: InvalidInput) -> None:
        """Show the error that refused an order."""
        self._print(Text.assemble(("✗ refused ", "bold red"), (clean(order_id), "bold"), f": {clean(error)}"))

    def enqueued(self, order: Order, run_id: str) -> None:
        """Say which run an order has."""
        lines = ", ".join(f"{line.quantity} {line.item}" for line in order.lines)
        what = f"{order.customer}, {lines}, {say_cents(order.total_cents)}, to {order.destination}"
        self._print(Text.assemble((clean(order.id), "bold"), f" {clean(what)}"))
        self._print(Text(f"run {run_id}", style="dim"))

    def in_the_middle(self, attempt: EntryRecord, charge: Effect) -> None:
        """Say in what moment the worker is."""
        self._fact(
            "books", f"the bank has charged {say_cents(charge.amount)} ({charge.number}) and has not answered yet"
        )
        self._fact("ledger", f"attempt {attempt.attempt} of {attempt.step} runs in {attempt.actor}")

    def killed(self, killed: Killed, picture: RunPicture) -> None:
        """Say what was killed, and what the ledger says at that moment."""
        listed = join_words([str(process_id) for process_id in killed.process_ids])
        self._fact(
            "SIGKILL", f"to process group {killed.group_id}: {listed} (exit code {killed.exit_code})", "bold red"
        )
        for row in picture.steps:
            if row.state is StepState.RUNNING and row.claim_expires_at is not None:
                left = max(0.0, (row.claim_expires_at - picture.now).total_seconds())
                self._fact("ledger", f"{row.step} still {row.state.value}; its claim ends in {say_seconds(left)}")

    def run(self, picture: RunPicture) -> None:
        """Show a run as `backout runs show` does."""
        self.console.print(draw_run(picture, Clock(now=picture.now, zone=None)))

    def done_once(self, evidence: Evidence) -> None:
        """Say what the bank's books have about an order whose charge was interrupted."""
        asked = say_count(sum(request.deed == "charge" for request in evidence.requests), "request")
        charges = [effect for effect in evidence.effects if effect.deed == "charge"]
        numbers = join_words([effect.number for effect in charges])
        charged = say_count(len(charges), "charge")
        self._fact("books", f"the bank had {asked} for this charge, under one key, and has {charged}: {numbers}")

    def compare(self, evidence: Sequence[Evidence], refused: Sequence[str], checks: Sequence[Check]) -> None:
        """Put the ledger and the books side by side, with what comparing them has shown."""
        self.act("The ledger and the books of the outside world, side by side")
        table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
        for heading in ("order", "ledger", "books", "asked", "agree"):
            table.add_column(heading, no_wrap=heading != "asked", overflow="fold")
        for item in evidence:
            mark = draw_mark(RUN_MARKS[item.picture.run.state])
            agreement = _tell_agreement(item.order.id, checks)
            table.add_row(item.order.id, mark, _tell_effects(item.effects), _tell_requests(item), agreement)
        for order_id in refused:
            table.add_row(
                order_id, Text("no run"), Text("nothing", style="dim"), "0", _tell_agreement(order_id, checks)
            )
        self.console.print(table)

    def verdict(self, checks: Sequence[Check], *, seconds: float, is_complete: bool) -> None:
        """Say whether the story went as told; each claim that does not hold with what was found instead."""
        failed = [check for check in checks if not check.holds]
        for check in failed:
            found = f"expected {check.expected!r}, found {check.found!r}"
            self._print(Text(clean(f"✗ {check.order_id}: not so: {check.claim} ({found})"), style="bold red"))
        count = say_count(len(checks), "claim")
        if failed:
            text = f"✗ The story did not go as told: {len(failed)} of {count} do not hold."
            self._print(Text(text, style="bold red"))
        elif is_complete:
            text = f"✓ It went as told, in {say_seconds(seconds)}: {count} compared between ledger and books, all hold."
            self._print(Text(text, style="bold green"))

    def broke_off(self, problem: str) -> None:
        """Say that the story could not be told to its end."""
        self._print(Text(f"✗ The story broke off: {problem}", style="bold red"))

    def ending(self, steps: Sequence[NextStep], *, folder: str, is_kept: bool) -> None:
        """Say what to try next, as commands to copy."""
        self.act("What to try next")
        for step in steps:
            if step.why:
                self.console.print(Text(f"# {step.why}", style="dim"), soft_wrap=True)
            # Neither wrapped nor indented by us: that would be copied too.
            self.console.print(Text(step.command, style="cyan"), soft_wrap=True)
        self.console.print()
        kept = "it stays" if is_kept else "the next demo removes it (--keep would keep it)"
        self.say(f"Ledger, books and the workers' log are in {folder}; {kept}.")

    def _print(self, text: Text) -> None:
        self.console.print(Padding(text, (0, 0, 0, len(INDENT)), expand=False))

    def _fact(self, name: str, value: str, style: str = "dim") -> None:
        grid = Table.grid(padding=(0, 1, 0, 0))
        grid.add_column(no_wrap=True, style=style, width=FACT_WIDTH)
        grid.add_column(overflow="fold")
        grid.add_row(f"{INDENT}{name}", Text(clean(value)))
        self.console.print(grid)


def say_cents(cents: int) -> str:
    """Return an amount of money: `48.90`."""
    sign = "−" if cents < 0 else ""
    return f"{sign}{abs(cents) // 100}.{abs(cents) % 100:02d}"


def _tell_effects(effects: Sequence[Effect]) -> Text:
    lines = []
    for effect in effects:
        amount = say_cents(effect.amount) if effect.partner == "bank" else f"{effect.amount:d}".replace("-", "−")
        lines.append(Text.assemble((effect.number, "cyan"), f" {effect.deed:<7} {amount:>8}"))
    return Text("\n").join(lines) if lines else Text("nothing", style="dim")


def _tell_requests(evidence: Evidence) -> str:
    """Return how often the outside was asked, and how many answers reached nobody."""
    unanswered = sum(request.answered_at is None for request in evidence.requests)
    lost = f", {unanswered} answer lost" if unanswered == 1 else f", {unanswered} answers lost" if unanswered else ""
    return f"{len(evidence.requests)}×{lost}"


def _tell_agreement(order_id: str, checks: Sequence[Check]) -> Text:
    is_so = all(check.holds for check in checks if check.order_id == order_id)
    return Text("✓ yes", style="green") if is_so else Text("✗ NO", style="bold red")

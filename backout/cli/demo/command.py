"""`backout demo`: sets the stage, has the story told, and leaves nothing running."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import click
from click.core import ParameterSource

from backout.cli.demo.app import app, configure
from backout.cli.demo.books import Books
from backout.cli.demo.broker import OpenBroker, clear_broker, open_broker
from backout.cli.demo.ending import suggest
from backout.cli.demo.interrupts import Interrupts
from backout.cli.demo.orders import PACKAGED_ORDERS, ReadOrder, read_orders
from backout.cli.demo.screen import Screen
from backout.cli.demo.stage import FOLDER_PREFIX, Stage, open_folder
from backout.cli.demo.story import Story, Told
from backout.cli.demo.summary import summarise
from backout.cli.demo.watch import StoryFailed
from backout.cli.demo.worker import Worker, forget_foreign_broker
from backout.cli.door import open_ledger
from backout.cli.exits import Exit
from backout.cli.output import json_option, make_console, write_json
from backout.ledger import schema
from backout.ledger.session import Ledger

ANSWER_SECONDS: Final = 0.3
"""How long everybody outside takes to answer, so that a person can follow the steps."""


@click.command("demo")
@click.option(
    "--orders",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="A JSON list of orders, such as examples/orders.json. [default: those]",
)
@click.option("--broker", metavar="URL", help="A broker of your own, in Celery's spelling. [default: one is started]")
@click.option("--database", metavar="URL", help="A ledger of your own, as an SQLAlchemy URL. [default: a SQLite file]")
@click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="PATH",
    help="Where ledger, books and log are written. [default: a new folder for temporary files]",
)
@click.option("--keep", is_flag=True, help="Keep the folder also when the next demo cleans up.")
@click.option("--fast", is_flag=True, help=f"Everybody outside answers at once, not after {ANSWER_SECONDS:g} s.")
@json_option
@click.pass_context
def demo(
    ctx: click.Context,
    orders: Path | None,
    broker: str | None,
    database: str | None,
    folder: Path | None,
    keep: bool,
    fast: bool,
    as_json: bool,
) -> None:
    """Watch a pipeline succeed, roll back, and survive a killed worker: a real worker, a real broker, half a minute.

    A shop's orders reserve stock, charge a card, book a courier and send a receipt. One goes through; one has a
    destination that no courier serves and is undone in reverse; during one the worker is killed with SIGKILL, just when
    the bank has charged the card and has not answered; one is malformed and refused. In the end the ledger is compared
    with the books of the bank and the others: exit code 0 only if all of it is so.

    In a file of your own, the destination "Tristan da Cunha" is the one without a courier, and the card
    "card-answers-late" is the one during whose charge the worker is killed.

    With --json: {"ok", "problem", "seconds", "folder", "database", "books", "broker", "refused": [{"order", "code",
    "message"}], "orders": [{"order", "run", "state", "effects", "requests", "killed", …}], "checks": [{"order",
    "claim", "holds", "expected", "found"}], "next": [{"command", "why"}]}.
    """
    forget_foreign_broker()
    console = make_console(ctx)
    console.quiet = as_json
    chosen_database = database or _database_of_group(ctx)
    orders_path = orders or PACKAGED_ORDERS
    read = read_orders(orders_path)
    try:
        with Interrupts() as interrupts, open_folder(folder, is_kept=keep) as place, open_broker(broker) as opened:
            stage = Stage(
                name=f"{FOLDER_PREFIX}{secrets.token_hex(4)}",
                folder=str(place),
                broker_url=opened.url,
                database_url=chosen_database or f"sqlite:///{place / 'ledger.sqlite3'}",
                answer_seconds=0.0 if fast else ANSWER_SECONDS,
            )
            stage.save()
            performance = Performance(ctx, stage, screen=Screen(console), broker=opened, interrupts=interrupts)
            performance.play(read, orders_path)
        performance.finish(is_kept=keep or folder is not None, as_json=as_json)
    except KeyboardInterrupt:
        click.echo("Stopped; worker and broker have ended.", err=True)
        ctx.exit(Exit.INTERRUPTED)
    ctx.exit(Exit.OK if performance.went_as_told else Exit.PROBLEM)


class Performance:
    """One demo, from the opening to the verdict."""

    def __init__(
        self, ctx: click.Context, stage: Stage, *, screen: Screen, broker: OpenBroker, interrupts: Interrupts
    ) -> None:
        self.ctx = ctx
        self.stage = stage
        self.screen = screen
        self.broker = broker
        self.interrupts = interrupts
        self.told = Told()
        self.problem = ""
        self.shown_database = ""
        self._started = time.monotonic()
        self._seconds = 0.0

    @property
    def went_as_told(self) -> bool:
        """True when all acts were played and every check holds."""
        return not self.problem and not self.told.failed_checks

    def play(self, orders: Sequence[ReadOrder], orders_path: Path) -> None:
        """Start a worker, tell the story, stop the worker.

        Raises:
            ConfigurationError: the ledger cannot be used, or the worker did not start or ended by itself.
        """
        # `open_ledger` looks for the URL there.
        self.ctx.params["database"] = self.stage.database_url
        with open_ledger(self.ctx, verified=False) as ledger:
            self.shown_database = ledger.shown_url
            schema.upgrade(ledger)
            configure(self.stage)
            try:
                self._play(orders, orders_path, ledger)
            finally:
                if not self.broker.is_ours:
                    clear_broker(app, self.stage)
        self._seconds = time.monotonic() - self._started

    def finish(self, *, is_kept: bool, as_json: bool) -> None:
        """Print the verdict and what to try next."""
        steps = suggest(self.stage, shown_database=self.shown_database, evidence=self.told.evidence)
        if as_json:
            write_json(
                summarise(
                    self.told,
                    stage=self.stage,
                    shown_database=self.shown_database,
                    broker=self.broker.shown,
                    steps=steps,
                    seconds=self._seconds,
                    problem=self.problem,
                )
            )
            return
        told, screen = self.told, self.screen
        screen.compare(told.evidence, [refused.id for refused in told.refused], told.checks)
        if self.problem:
            screen.broke_off(self.problem)
        screen.verdict(told.checks, seconds=self._seconds, is_complete=not self.problem)
        screen.ending(steps, folder=self.stage.folder, is_kept=is_kept)

    def _play(self, orders: Sequence[ReadOrder], orders_path: Path, ledger: Ledger) -> None:
        books = Books(self.stage.books_path)
        books.open_new()
        self.screen.opening(
            self.stage, broker=self.broker, database=self.shown_database, orders=orders_path, count=len(orders)
        )
        with Worker(app, self.stage, self.interrupts) as worker:
            with self.screen.starting():
                worker.start(self.interrupts.raise_missed)
            self.screen.started(worker)

            def heed() -> None:
                self.interrupts.raise_missed()
                worker.require_running()

            story = Story(
                stage=self.stage,
                ledger=ledger,
                books=books,
                worker=worker,
                screen=self.screen,
                heed=heed,
                told=self.told,
            )
            try:
                story.tell(orders)
            except StoryFailed as error:
                self.problem = str(error)
        self.interrupts.raise_missed()


def _database_of_group(ctx: click.Context) -> str | None:
    """Return `backout --database URL demo`; not what the environment says, which may be an earlier demo's ledger."""
    if ctx.parent is None or ctx.parent.get_parameter_source("database") is not ParameterSource.COMMANDLINE:
        return None
    url: str | None = ctx.parent.params["database"]
    return url

"""Every fault point, in both directions, under every disaster, on every broker and database: printed as a table."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

from backout.testing.servers import ServerUnavailable
from tests.proof.cells import CELLS, Carried, Cell, Disaster, is_possible, run_batch
from tests.proof.servers import BROKERS, DATABASES, open_broker, open_database

WIDTH = 19


def main(words: list[str]) -> int:
    """Run the matrix, or the part that the command line names; 0 when every run ended right."""
    given = _read_words(words)
    started = time.monotonic()
    failed: dict[str, str] = {}
    counts: dict[str, dict[str, str]] = {}
    say(f"{'':22}{'':12}" + "".join(f"{disaster.value:>{WIDTH}}" for disaster in given.disaster))
    for broker_name in given.broker:
        for database_name in given.database:
            for carried in given.carried:
                try:
                    row = _run_row(broker_name, database_name, carried, given.disaster, failed)
                except ServerUnavailable as error:
                    # Told, and not counted: the matrix of a machine is that of the servers that it has.
                    say(f"{broker_name:12}{carried.value:10}{database_name:12}  not tried: {error}")
                    continue
                counts[f"{broker_name} {database_name} {carried.value}"] = row
                line = "".join(f"{cell:>{WIDTH}}" for cell in row.values())
                say(f"{broker_name:12}{carried.value:10}{database_name:12}{line}")
    seconds = time.monotonic() - started
    say(f"\nUp to {len(CELLS)} runs in each cell of the table; {len(failed)} ended wrong; {seconds:.0f} s")
    for name, problem in failed.items():
        say(f"\n✗ {name}: {problem}")
    if given.json:
        given.json.write_text(json.dumps({"cells": counts, "failed": failed}, indent=2))
    return 1 if failed else 0


def _read_words(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make crash-matrix ARGS=…", description=__doc__)
    parser.add_argument("--broker", choices=BROKERS, nargs="+", default=list(BROKERS))
    parser.add_argument("--database", choices=DATABASES, nargs="+", default=list(DATABASES))
    parser.add_argument("--disaster", type=Disaster, nargs="+", default=list(Disaster), metavar="DISASTER")
    parser.add_argument("--carried", type=Carried, nargs="+", default=list(Carried), metavar="messages|bursts")
    parser.add_argument("--json", type=Path, default=None, help="write the result to this file, too")
    return parser.parse_args(words)


def _run_row(
    broker: str, database: str, carried: Carried, disasters: list[Disaster], failed: dict[str, str]
) -> dict[str, str]:
    row: dict[str, str] = {}
    with (
        tempfile.TemporaryDirectory(prefix="backout-crash-") as folder,
        open_broker(broker) as broker_place,
        open_database(database, Path(folder)) as database_place,
    ):
        for disaster in disasters:
            if not is_possible(disaster, database_place):
                row[disaster.value] = "–"
                continue
            problems = run_batch(disaster, broker_place, database_place, carried)
            wrong = {cell: problem for cell, problem in problems.items() if problem}
            where = f"{broker}, {database}, {carried}, {disaster}"
            failed.update({f"{where}: {_name(cell)}": text for cell, text in wrong.items()})
            row[disaster.value] = f"{len(problems) - len(wrong)} of {len(problems)}"
            print(f"  {where}: {row[disaster.value]}", file=sys.stderr, flush=True)
    return row


def _name(cell: Cell) -> str:
    return f"{cell.place} of {cell.contract.pipeline.name}"


def say(text: str) -> None:
    """Print a line at once."""
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Explore the larger pipelines and print what was found."""

from __future__ import annotations

import argparse
import sys

from tests.model.catalogue import LARGE, SMALL
from tests.model.explorer import explore
from tests.model.table import table_of


def main() -> int:
    """Explore; return 1 when a rule does not hold."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.model",
        description="Visit every state that a pipeline can reach when messages and workers fail, and check the rules.",
        epilog="All pipelines take some ten minutes and less than 1 GB. The tests explore only the small ones.",
    )
    parser.add_argument("--small", action="store_true", help="only the pipelines that the tests explore")
    arguments = parser.parse_args()
    found = []
    for model in SMALL if arguments.small else (*SMALL, *LARGE):
        exploration = explore(model)
        print(f"{model.name} ({model.budget}): {exploration.states:,} states", file=sys.stderr, flush=True)
        if exploration.violation is not None:
            print(exploration.violation)
            return 1
        found.append(exploration)
    print(table_of(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())

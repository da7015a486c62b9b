"""Enqueue work for a worker, from a process of its own: `python -m benchmarks.feeder APP prepare | COUNT`."""

import importlib
import sys


def main() -> None:
    """Do what the command line says."""
    app = importlib.import_module(sys.argv[1])
    if sys.argv[2] == "prepare":
        app.prepare()
    else:
        app.enqueue(int(sys.argv[2]))


if __name__ == "__main__":
    main()

"""All benchmarks; there is one so far."""

import sys

from benchmarks.steps import main

if __name__ == "__main__":
    sys.exit(main())

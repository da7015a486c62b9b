"""`python -m backout`: the command line, also where no console script is on the path."""

from backout.cli.main import main

main()

"""`python -m backout.cli`: the command line where its script is not on the path."""

from backout.cli.main import main

if __name__ == "__main__":
    main()

"""Run the studio on this machine: `python -m examples.flask_booking`."""

import os
import sys

import click

from examples.flask_booking.app import FOLDER
from examples.launch import Example, Program, free_port, launch

FLASK = [sys.executable, "-m", "flask", "--app", "examples.flask_booking.app"]
CELERY = [sys.executable, "-m", "celery", "-A", "examples.flask_booking.make_celery"]


@click.command()
def main() -> None:
    """Start the broker, make the tables, then run a worker and the web server until Ctrl-C."""
    port = free_port(int(os.environ.get("BOOKING_PORT", "5000")))
    url = f"http://127.0.0.1:{port}/"
    launch(
        Example(
            folder=FOLDER.parents[1],
            broker_variable="CELERY_BROKER_URL",
            environment={},
            preparations=[[*FLASK, "make-tables"], [*FLASK, "backout", "ledger", "upgrade"]],
            programs=[
                Program(name="worker", command=[*CELERY, "worker", "-l", "WARNING", "-c", "2"]),
                Program(name="web", command=[*FLASK, "run", "--port", str(port)]),
            ],
            url=url,
            welcome=f"Book an hour:  {url}\nFor staff:     {url}staff/  (demo, demo)",
        )
    )


if __name__ == "__main__":
    main(prog_name="python -m examples.flask_booking")

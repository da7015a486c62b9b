"""Web processes that come to different ends: `python -m tests.integrations.flask.project.web PLACE…`.

Each place has a process of its own, which takes an order of that name and is killed there. Prints for each place how
its process ended: the answer's status, or the signal as a negative number.
"""

from __future__ import annotations

import json
import os
import signal
import sys

from tests.integrations.flask.project import create_app

DEAD_BROKER = "redis://127.0.0.1:1/0"


def serve(place: str) -> int:
    """Take one order in this process; return the status of the answer."""
    app = create_app()
    if place == "broker away":
        app.extensions["celery"].conf.broker_url = DEAD_BROKER
    app.config["SHOP_STRIKE"] = lambda reached: os.kill(os.getpid(), signal.SIGKILL) if reached == place else None
    app.config["PROPAGATE_EXCEPTIONS"] = False
    form = {"name": place}
    if place == "rolled back":
        form["out_of_stock"] = "yes"
    if place == "savepoint":
        form["beside"] = "inside the savepoint"
    return app.test_client().post("/orders", data=form).status_code


def serve_apart(place: str) -> int:
    """Do the same in a process of its own; return the status, or the signal that ended it as a negative number."""
    reading, writing = os.pipe()
    process_id = os.fork()
    if process_id == 0:
        os.write(writing, str(serve(place)).encode())
        os._exit(0)
    os.close(writing)
    code = os.waitstatus_to_exitcode(os.waitpid(process_id, 0)[1])
    with os.fdopen(reading) as answer:
        return code or int(answer.read())


if __name__ == "__main__":
    print(json.dumps({place: serve_apart(place) for place in sys.argv[1:]}))

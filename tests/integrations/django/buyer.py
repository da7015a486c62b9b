"""A web process that makes an order and its run in one block, and dies on the way: `… PIPELINE NUMBER [PLACE]`.

It prints the run's id if it lives. The last place is that of a process that lives.
"""

from __future__ import annotations

import os
import signal
import sys

import django
from django.db import transaction
from django.utils.module_loading import import_string

from backout.faultpoints import FaultPoint, arm

SHOP = "tests.integrations.django.project.shop"
PLACES = ("row written", "run recorded", "committed", "about to send", "sent", "")
COMMITTED = PLACES[2:]
"""Those at which the block has committed."""


def main(pipeline: str, number: str, place: str = "") -> None:
    """Buy something."""
    django.setup()
    order = import_string(f"{SHOP}.models.Order")
    asked = import_string(f"{SHOP}.pipelines.{pipeline}")

    def die_at(here: str) -> None:
        if here == place:
            os.kill(os.getpid(), signal.SIGKILL)

    arm(FaultPoint.ENQUEUE_COMMITTED, lambda: die_at("about to send"))
    with transaction.atomic():
        # Before the one that sends, because it is asked for before.
        transaction.on_commit(lambda: die_at("committed"))
        order.objects.create(number=number)
        die_at("row written")
        handle = asked.enqueue({"number": number}, source_event_id=number)
        die_at("run recorded")
    die_at("sent")
    print(handle.id)


if __name__ == "__main__":
    main(*sys.argv[1:])

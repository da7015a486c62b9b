"""The JSON API of a real Flower, asked whatever its own document allows and forbids."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from backout.events import Event
from backout.ledger import queries
from backout.ledger.session import Ledger
from tests.integrations.flower.starting import ALICE, LOGIN, Start
from tests.support.flowers import Client
from tests.support.scenes import doubted, entries_of, parked, paused, reserved, succeeded, undo_failed

CHECKS: Final = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "response_headers_conformance",
    "unsupported_method",
    "allow_header_conformance",
)
CASES: Final = 30
"""Requests of each kind for each operation."""
FEW: Final = (reserved, parked, doubted, succeeded, undo_failed, paused)
"""Scenes of which most requests find one, in the version that they expect."""
SECONDS: Final = 240
"""After which something hangs."""


def narrow(document: dict[str, Any], ledger: Ledger, client: Client) -> dict[str, Any]:
    """Return the document with the names that there are in place of any: few others would be more than not found."""
    runs = ledger.read(queries.list_runs)
    actions = [json.loads(client.get(f"/api/runs/{run.id}/actions").text) for run in runs]
    known: dict[str, list[Any]] = {
        "run_id": [*(run.id for run in runs), "0198f000-0000-7000-8000-000000000000"],
        "review_id": [*(review.id for review in ledger.read(queries.list_reviews)), 2**62],
        "expecting": [found["version"] for found in actions],
        "step": ["book_courier", "charge_card", "nothing"],
        "to_step": ["check_address", "charge_card", "nothing"],
    }
    for operations in document["paths"].values():
        for parameter in (one for operation in operations.values() for one in operation.get("parameters", ())):
            if parameter["name"] in known:
                parameter["schema"] = {"enum": known[parameter["name"]]}
    for title, schema in document["components"]["schemas"].items():
        if title.startswith("ActionBody"):
            schema.get("properties", {}).update(
                {name: {"enum": values} for name, values in known.items() if name in schema.get("properties", {})}
            )
    return {**document, "servers": [{"url": f"{client.url}/api"}]}


def test_nothing_that_is_sent_breaks_it_or_the_promises_of_its_document(
    start: Start, ledger: Ledger, tmp_path: Path
) -> None:
    """No error of the server, no status, header, type or shape that the document does not name; links lead on."""
    runs = [scene(ledger) for scene in FEW]
    flower = start(LOGIN)
    client = flower.client(ALICE)
    served = client.get("/api/backout/openapi.json")
    assert served.status == 200, served.text
    document = tmp_path / "openapi.json"
    document.write_text(json.dumps(narrow(json.loads(served.text), ledger, client)))
    name, _, word = ALICE.partition(":")
    done = subprocess.run(
        [
            # One worker: Python 3.11 loses count of its recursion when two threads parse at once.
            *(sys.executable, "-m", "schemathesis.cli", "run", str(document)),
            *("--url", f"{flower.url}/api", "--auth", f"{name}:{word}"),
            *("--checks", ",".join(CHECKS), "--max-examples", str(CASES), "--mode", "all"),
            *("--seed", "1", "--generation-deterministic"),
            *("--no-color", "--workers", "1"),
        ],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": ""},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout[-20_000:]}\n{done.stderr}"
    assert "Traceback" not in flower.log
    done_by_hand = [entry.event for run in runs for entry in entries_of(run) if entry.actor == "flower:alice"]
    assert set(done_by_hand) - {Event.REVIEW_ASSIGNED}, "some were carried out"

"""How the check uses the services: as a customer, as a reader of the ledger, and as somebody who looks at Flower."""

from __future__ import annotations

import base64
import http.cookiejar
import json
import re
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import psycopg

from tests.compose.failure import CheckFailed

TIMEOUT_SECONDS: Final = 20.0
EXPIRE: Final = """
UPDATE backout_step SET {column} = now()
WHERE {column} BETWEEN now() AND now() + interval '50 seconds' AND state IN ('ready', 'running', 'retry_scheduled')
"""
"""What was claimed or sent in the last ten seconds is left alone: it has a minute, and may be under way."""
ASKS_RIGHTLY: Final = """
SELECT bool_and(
    step.state = 'in_doubt' AND step.lost_attempts > 0
    AND NOT (run.plan -> 'steps' -> step.position ->> 'idempotent')::boolean
)
FROM backout_review AS review
JOIN backout_run AS run ON run.id = review.run_id
JOIN backout_step AS step
    ON (step.run_id, step.round, step.position, step.direction)
    = (review.run_id, review.round, review.position, review.direction)
WHERE review.run_id = %s AND review.decision IS NULL
"""


class Customer:
    """A browser with its cookies, as far as a checkout needs one."""

    def __init__(self, url: str) -> None:
        self._url = url
        cookies = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
        self._opener = urllib.request.build_opener(cookies)
        self._orders = 0

    def order(self, *, courier_fails: bool) -> str:
        """Place an order on the checkout page and return the address of the page that it leads to."""
        found = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', self.read(f"{self._url}/"))
        if found is None:
            raise CheckFailed("the checkout page has no form")
        # Each order asks for something else, so that nothing sells out.
        self._orders += 1
        item = f"lamp {self._orders}"
        fields = {"csrfmiddlewaretoken": found[1], "customer": "Ada", "item": item, "amount_cents": "4200"}
        if courier_fails:
            fields["courier_fails"] = "on"
        with self._opener.open(f"{self._url}/", urllib.parse.urlencode(fields).encode(), TIMEOUT_SECONDS) as answer:
            if not re.search(r"/orders/[^/]+/$", answer.url):
                raise CheckFailed(f"an order led to {answer.url}:\n{answer.read().decode()[:2000]}")
            return str(answer.url)

    def read(self, url: str) -> str:
        """Return a page."""
        with self._opener.open(url, timeout=TIMEOUT_SECONDS) as answer:
            return str(answer.read().decode())


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A step or a compensation of a run, as the ledger has it."""

    id: UUID
    step: str
    direction: str
    state: str


class LedgerReader:
    """Reads the ledger's tables, as anybody may."""

    def __init__(self, url: str) -> None:
        self._url = url

    def run_ids(self) -> set[UUID]:
        """Return the ids of all runs."""
        return {row[0] for row in self._select("SELECT id FROM backout_run")}

    def state(self, run_id: UUID) -> str:
        """Return the state of a run."""
        [(state,)] = self._select("SELECT state FROM backout_run WHERE id = %s", run_id)
        return str(state)

    def tasks(self, run_id: UUID) -> list[Task]:
        """Return what ran for a run."""
        rows = self._select(
            "SELECT task_id, step, direction, state FROM backout_step WHERE run_id = %s AND attempt > 0", run_id
        )
        return [Task(id=row[0], step=row[1], direction=row[2], state=row[3]) for row in rows]

    def running_steps(self) -> int:
        """Return how many steps are being run by a worker now."""
        [(number,)] = self._select("SELECT count(*) FROM backout_step WHERE state = 'running'")
        return int(number)

    def lost_attempts(self) -> int:
        """Return how many attempts ended without an answer, or hold a claim whose worker is gone."""
        [(number,)] = self._select("SELECT count(*) FROM backout_step WHERE lost_attempts > 0 OR state = 'running'")
        return int(number)

    def let_time_pass(self) -> None:
        """Let the claims expire and the messages be overdue that nobody has renewed for a while.

        So it would be after a minute or two; the shop's steps take much less than a second.
        """
        with psycopg.connect(self._url, connect_timeout=5) as connection:
            for column in ("claim_expires_at", "sweep_at"):
                connection.execute(EXPIRE.format(column=column).encode())

    def asks_rightly(self, run_id: UUID) -> bool:
        """Tell whether a run asks about nothing but attempts that were cut off and may not be repeated."""
        [(is_right,)] = self._select(ASKS_RIGHTLY, run_id)
        return bool(is_right)

    def _select(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        with psycopg.connect(self._url, connect_timeout=5) as connection:
            return connection.execute(statement.encode(), values).fetchall()


class Flower:
    """Flower's API behind its password."""

    def __init__(self, url: str, *, credentials: str) -> None:
        self._url = url
        self._header = {"Authorization": f"Basic {base64.b64encode(credentials.encode()).decode()}"}

    def task_state(self, task_id: UUID) -> str | None:
        """Return the state that Flower shows for a task; `None` while it has not seen it."""
        request = urllib.request.Request(f"{self._url}/api/task/info/{task_id}", headers=self._header)
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:
                return str(json.load(answer)["state"])
        except urllib.error.HTTPError as error:
            error.close()
            if error.code == 404:
                return None
            raise

    def run_state(self, run_id: UUID) -> str:
        """Return the state that the tab shows for a run."""
        request = urllib.request.Request(f"{self._url}/api/runs/{run_id}", headers=self._header)
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:
            return str(json.load(answer)["run"]["state"])

    def refuses_strangers(self) -> bool:
        """Tell whether who has no password sees nothing."""
        try:
            urllib.request.urlopen(f"{self._url}/api/tasks", timeout=TIMEOUT_SECONDS).close()
        except urllib.error.HTTPError as error:
            error.close()
            return error.code == 401
        return False

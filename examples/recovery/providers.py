"""The outside world of the examples: small systems that know nothing of backout.

What they did is in their books, one SQLite file that the environment names, and nowhere else: workers, scripts and
tests all see the same. Each request can be given a fault, as if the provider or the network had failed just then.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from enum import StrEnum

BOOKS = "RECOVERY_BOOKS"
"""The environment variable with the path of the books."""
ALWAYS = 0
"""A fault that strikes until it is mended."""

TABLES = """
create table if not exists deed (
    id integer primary key, provider text not null, what text not null, key text not null, facts text not null,
    is_undone integer not null default 0, unique (provider, what, key));
create table if not exists fault (request text primary key, fault text not null, times integer not null);
"""


class Fault(StrEnum):
    """What goes wrong with a request."""

    DOWN = "down"
    """Nobody answers the call; nothing happens."""
    DECLINES = "declines"
    """The answer is no; nothing happens."""
    TIMES_OUT = "times-out"
    """It happens, and the answer comes too late."""
    KILLED_BEFORE = "killed-before"
    """The worker's process is killed just before the request goes out."""
    KILLED_AFTER = "killed-after"
    """The worker's process is killed just after it has happened, before it hears of it."""
    STALE = "stale"
    """A site still shows what was there before."""


class Unavailable(Exception):
    """The request did not go out: nothing has happened."""


class Declined(Exception):
    """The provider has said no: nothing has happened."""


class TimedOut(Exception):
    """The request went out and no answer came: it may have happened."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deed:
    """One thing that a provider did."""

    id: str
    provider: str
    what: str
    key: str
    facts: dict[str, str]
    is_undone: bool


class Provider:
    """Somebody outside, with books."""

    def __init__(self, name: str) -> None:
        self.name = name

    def do(self, what: str, *, key: str, **facts: str) -> Deed:
        """Do something once for each key; a repeated request gets the first one's answer."""
        with self.request(what), books() as book:
            row = (self.name, what, key, json.dumps(facts))
            book.execute("insert or ignore into deed (provider, what, key, facts) values (?, ?, ?, ?)", row)
            (found,) = read(book, self.name, what=what, key=key)
            return found

    def undo(self, deed_id: str) -> None:
        """Take something back; a second time changes nothing."""
        number = deed_id.rpartition("-")[2]
        with self.request("undo"), books() as book:
            book.execute("update deed set is_undone = 1 where provider = ? and id = ?", (self.name, number))

    def find(self, what: str, *, key: str) -> Deed | None:
        """Say what was done under a key; `None` when nothing was."""
        with self.request("find"), books() as book:
            return next(iter(read(book, self.name, what=what, key=key)), None)

    def standing(self, what: str) -> list[Deed]:
        """Return what was done and not taken back, as somebody sees who looks into the books."""
        with books() as book:
            return [deed for deed in read(book, self.name, what=what) if not deed.is_undone]

    @contextmanager
    def request(self, what: str) -> Iterator[Fault | None]:
        """Let the fault strike that a request was given."""
        fault = take_fault(f"{self.name}.{what}")
        match fault:
            case Fault.DOWN:
                raise Unavailable(f"{self.name}: connection refused")
            case Fault.DECLINES:
                raise Declined(f"{self.name}: request declined")
            case Fault.KILLED_BEFORE:
                os.kill(os.getpid(), signal.SIGKILL)
        yield fault
        match fault:
            case Fault.TIMES_OUT:
                raise TimedOut(f"{self.name}: no answer within 10 s")
            case Fault.KILLED_AFTER:
                os.kill(os.getpid(), signal.SIGKILL)


class RateService(Provider):
    """Exchange rates; only read."""

    def read(self, currency: str) -> float:
        with self.request("read"):
            return {"USD": 1.1, "SEK": 11.3}[currency]


class Enricher(Provider):
    """Knows companies by their domain; writes down whom it was asked about, because it is paid for each answer."""

    def look_up(self, domain: str, *, lead_id: str) -> dict[str, str]:
        self.do("look_up", key=lead_id, domain=domain)
        return {"company": domain.partition(".")[0].title()}


class Mailer(Provider):
    """Sends mails. It knows no idempotency keys, but it can be searched for the tag of a mail."""

    def send(self, to: str, subject: str, *, tag: str) -> Deed:
        return self.do("send", key=f"{tag}#{uuid.uuid4()}", to=to, subject=subject, tag=tag)

    def search(self, tag: str) -> Deed | None:
        with self.request("search"):
            return next((mail for mail in self.standing("send") if mail.facts["tag"] == tag), None)


class Bank(Provider):
    """Pays. It knows no keys, and what it has paid stands in a statement that comes tomorrow."""

    def pay(self, account: str, cents: int) -> Deed:
        return self.do("pay", key=str(uuid.uuid4()), account=account, cents=str(cents))


class Calendar(Provider):
    """One booking for each slot."""

    def is_free(self, slot: str) -> bool:
        with self.request("look"):
            return all(booking.facts["slot"] != slot for booking in self.standing("reserve"))

    def reserve(self, slot: str, *, key: str) -> Deed:
        if any(booking.facts["slot"] == slot and booking.key != key for booking in self.standing("reserve")):
            raise Declined(f"{self.name}: {slot} was taken by somebody else")
        return self.do("reserve", key=key, slot=slot)


class Site(Provider):
    """A site whose content is pushed, built and put live."""

    def live_version(self) -> str:
        with self.request("look") as fault:
            versions = self.standing("put_live")
            seen = versions[:-1] if fault is Fault.STALE else versions
            return seen[-1].facts["build"] if seen else "nothing"


rates = RateService("rates")
crm = Provider("crm")
enricher = Enricher("enricher")
mailer = Mailer("mailer")
bank = Bank("bank")
accounts = Provider("accounts")
calendar = Calendar("calendar")
site = Site("site")


def set_fault(request: str, fault: Fault, *, times: int = ALWAYS) -> None:
    """Let a request such as `crm.create_lead` fail so many times."""
    with books() as book:
        book.execute("insert or replace into fault values (?, ?, ?)", (request, fault.value, times))


def mend(request: str | None = None) -> None:
    """Let a request, or all of them, work again."""
    with books() as book:
        book.execute("delete from fault where request = coalesce(?, request)", (request,))


def take_fault(request: str) -> Fault | None:
    """Return the fault that strikes a request now; one that has struck often enough is gone."""
    with books() as book:
        found = book.execute("select fault, times from fault where request = ?", (request,)).fetchone()
        if found is None:
            return None
        fault, times = found
        if times == 1:
            book.execute("delete from fault where request = ?", (request,))
        elif times > 1:
            book.execute("update fault set times = times - 1 where request = ?", (request,))
        return Fault(fault)


def all_deeds() -> list[Deed]:
    """Return everything that anybody did, in order."""
    with books() as book:
        return read(book)


def read(book: sqlite3.Connection, provider: str | None = None, **where: str) -> list[Deed]:
    """Return deeds in order; keywords choose among them."""
    wanted = {"provider": provider, **where} if provider else where
    condition = " and ".join(["true", *(f"{column} = ?" for column in wanted)])
    rows = book.execute(f"select * from deed where {condition} order by id", tuple(wanted.values()))
    return [
        Deed(
            id=f"{row['provider']}-{row['id']}",
            provider=row["provider"],
            what=row["what"],
            key=row["key"],
            facts=json.loads(row["facts"]),
            is_undone=bool(row["is_undone"]),
        )
        for row in rows
    ]


@contextmanager
def books() -> Iterator[sqlite3.Connection]:
    """Open the books for one transaction; nobody else writes meanwhile."""
    path = os.environ.get(BOOKS, "recovery-books.sqlite3")
    with closing(sqlite3.connect(path, timeout=30, isolation_level=None)) as book:
        book.row_factory = sqlite3.Row
        book.executescript(TABLES)
        book.execute("begin immediate")
        yield book
        book.execute("commit")

"""A real Flower of a test, in a process of its own, of the release that is installed or of an older one."""

from __future__ import annotations

import http.client
import os
import shutil
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Final
from urllib.parse import urlencode, urlsplit

from backout.testing.servers.rabbitmq import free_port
from tests.support.waiting import wait_until
from tests.support.worker import ROOT

START_SECONDS: Final = 40.0
STOP_SECONDS: Final = 15.0
KEPT: Final = ROOT / ".tools"
FORM: Final = "application/x-www-form-urlencoded"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What was answered; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    text: str


@dataclass(kw_only=True)
class Client:
    """A program that asks, keeps cookies, and follows nothing.

    Attributes:
        url: of the Flower, with its prefix.
        user: `name:password`; empty: does not log in.
    """

    url: str
    user: str = ""
    cookies: dict[str, str] = field(default_factory=dict)

    def get(self, path: str, **headers: str) -> Answer:
        """Ask for a page; a path that begins with the prefix is taken as it is."""
        return self._ask("GET", path, None, headers)

    def post(self, path: str, fields: Mapping[str, str] | bytes, **headers: str) -> Answer:
        """Send a form, or a body as it is."""
        body = fields if isinstance(fields, bytes) else urlencode(fields).encode()
        return self._ask("POST", path, body, {"Content_Type": FORM, **headers})

    def ask(self, method: str, path: str, **headers: str) -> Answer:
        """Ask in another way."""
        return self._ask(method, path, None, headers)

    def _ask(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> Answer:
        place = urlsplit(self.url)
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.user:
            sent.setdefault("Authorization", f"Basic {b64encode(self.user.encode()).decode()}")
        if self.cookies:
            sent.setdefault("Cookie", "; ".join(f"{name}={value}" for name, value in self.cookies.items()))
        connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=60)
        try:
            is_whole = bool(place.path) and path.startswith(place.path)
            connection.request(method, path if is_whole else f"{place.path}{path}", body, sent)
            response = connection.getresponse()
            text = response.read().decode()
        finally:
            connection.close()
        for value in response.headers.get_all("Set-Cookie") or []:
            self.cookies |= {name: morsel.value for name, morsel in SimpleCookie(value).items()}
        return Answer(
            status=response.status,
            headers={name.lower(): value for name, value in response.headers.items()},
            text=text,
        )


@dataclass(frozen=True, kw_only=True)
class Flower:
    """One that runs.

    Attributes:
        url: of its first page, with its prefix and without the slash at the end.
    """

    url: str
    log_path: Path
    process: subprocess.Popen[bytes]

    @property
    def log(self) -> str:
        """What it wrote."""
        return self.log_path.read_text(errors="replace")

    def client(self, user: str = "") -> Client:
        """Return somebody who asks; `user` is `name:password`."""
        return Client(url=self.url, user=user)


@contextmanager
def run_flower(
    *options: str,
    app: str,
    environment: Mapping[str, str],
    folder: Path,
    packages: Path | None = None,
    command: Sequence[str] = ("flower",),
) -> Iterator[Flower]:
    """Keep a Flower inside the block, started as its users start it.

    Args:
        options: of Flower.
        app: the Celery app, as for `celery -A`.
        environment: for the app; Flower's own variables may be among it.
        folder: for its log and what it keeps.
        packages: where another release of Flower is; `None`: the one that is installed.
        command: what comes behind `celery -A app`.
    """
    folder.mkdir(exist_ok=True)
    port = free_port()
    log = folder / f"flower-{port}.log"
    paths = [str(path) for path in (packages, ROOT) if path is not None]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "celery", "-A", app, *command, "--address=127.0.0.1", f"--port={port}", *options],
            env={**os.environ, **environment, "PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1"},
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    prefix = next((one.partition("=")[2] for one in options if one.startswith("--url_prefix=")), "").strip("/")
    url = f"http://127.0.0.1:{port}" + (f"/{prefix}" if prefix else "")
    flower = Flower(url=url, log_path=log, process=process)
    try:
        wait_until(lambda: process.poll() is not None or is_up(flower), START_SECONDS, "Flower is ready")
        assert process.poll() is None, flower.log
        yield flower
        assert process.poll() is None, flower.log
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)
        process.kill()
        process.wait()


def is_up(flower: Flower) -> bool:
    """Return whether it answers."""
    with suppress(OSError, http.client.HTTPException):
        return flower.client().get("/healthcheck").status == http.client.OK
    return False


def find_release(version: str) -> Path:
    """Return a folder with a release of Flower and nothing else; fetched at the first call."""
    folder = KEPT / f"flower-{version}"
    if folder.exists():
        return folder
    KEPT.mkdir(exist_ok=True)
    fresh = KEPT / f"flower-{version}.{os.getpid()}"
    said = []
    for installer in list_installers():
        done = subprocess.run(
            [*installer, "--quiet", "--no-deps", "--target", str(fresh), f"flower=={version}"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode == 0:
            with suppress(OSError):
                # Another process of the tests may have been faster.
                fresh.rename(folder)
            shutil.rmtree(fresh, ignore_errors=True)
            return folder
        said.append(done.stderr)
    raise AssertionError("\n".join([f"Flower {version} could not be fetched:", *said]))


def list_installers() -> list[list[str]]:
    """Return the commands that may install a package here: an environment made by uv has no pip."""
    uv = [found for found in (shutil.which("uv"), str(KEPT / "bin" / "uv"), str(KEPT / "uv" / "bin" / "uv")) if found]
    with_uv = [[one, "pip", "install", "--python", sys.executable] for one in uv if Path(one).exists()]
    base = str(getattr(sys, "_base_executable", sys.executable))
    with_pip = [[python, "-m", "pip", "install", "--disable-pip-version-check"] for python in (sys.executable, base)]
    return [*with_uv, *with_pip]

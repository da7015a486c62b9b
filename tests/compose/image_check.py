"""Build the image with buildah and look at it: `python -m tests.compose.image_check`.

`--base IMAGE` builds on another image with Python and its venv module, for machines that reach no registry. Packages
come from where this machine's pip takes them: its configuration and its certificates are shown to the build.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.compose.failure import CheckFailed
from tests.compose.images import ROOT, Image, read_dockerfile

TAG: Final = "localhost/backout-shop-check"
SHOWN_TO_BUILD: Final = ("/etc/ssl/certs", "/etc/pip.conf")
ENVIRONMENT: Final = {
    "DATABASE_URL": "sqlite:////tmp/check.sqlite3",
    "CELERY_BROKER_URL": "redis://localhost:6379/0",
    "DJANGO_SECRET_KEY": "for this check only",
}
WORKS: Final = {
    "the settings and the models load": ("python", "manage.py", "check"),
    "the tables can be made": ("python", "manage.py", "migrate", "--noinput", "--verbosity", "0"),
    "the web server finds the application": ("gunicorn", "--check-config", "shop.wsgi"),
    "the worker finds the application": ("celery", "--app", "shop", "report"),
    "the worker can be started": ("celery", "--app", "shop", "worker", "--help"),
    "Flower is there": ("celery", "--app", "shop", "flower", "--help"),
    "backout is there": ("celery", "--app", "shop", "backout", "--help"),
    "PostgreSQL's driver is there": ("python", "-c", "import psycopg, psycopg_binary"),
}
"""What must end well in the image."""
FINDS_NOTHING: Final = {
    "files that the application could change": ("find", "/opt/venv", "/srv", "-writable", "-not", "-type", "l"),
    "files of the build, secrets, databases": (
        *("find", "/build", "/root", "/srv", "/opt/venv", "-name", ".env*"),
        *("-o", "-name", "*.sqlite3", "-o", "-name", "*.whl", "-o", "-path", "/build/*", "-o", "-path", "*/.cache/*"),
    ),
}
"""What must print nothing in the image."""


def main() -> int:
    """Build, look, and remove what was built."""
    parser = argparse.ArgumentParser(prog="image-check", description=__doc__)
    parser.add_argument("--base", metavar="IMAGE", help="build on this image")
    given = parser.parse_args()
    if shutil.which("buildah") is None:
        print("image-check: buildah is not on the PATH (Debian, Ubuntu: apt install buildah)", file=sys.stderr)
        return 2
    try:
        build(given.base)
        look(read_dockerfile(ROOT / "Dockerfile"))
    except CheckFailed as failure:
        print(f"image-check: {failure}", file=sys.stderr)
        return 1
    finally:
        subprocess.run(["buildah", "rmi", TAG], capture_output=True, check=False)
    print("image-check: went well")
    return 0


def build(base: str | None) -> None:
    """Build the image."""
    shown = [f"--volume={path}:{path}:ro" for path in SHOWN_TO_BUILD if Path(path).exists()]
    arguments = ["--build-arg", f"BASE={base}"] if base else []
    # Isolation by chroot needs no container runtime, and works inside containers too.
    command = ["buildah", "build", "--isolation", "chroot", "--tag", TAG, *shown, *arguments, str(ROOT)]
    if subprocess.run(command, check=False).returncode != 0:
        raise CheckFailed("the image could not be built; if the base image cannot be reached, name another: --base")


def look(expected: Image) -> None:
    """Look at what the image is set to, and run things in it as its user."""
    user = buildah(["inspect", "--type", "image", "--format", "{{.OCIv1.Config.User}}", TAG]).strip()
    if user != f"{expected.user_id}:{expected.group_id}":
        raise CheckFailed(f"the image runs as {user!r}")
    container = buildah(["from", "--pull-never", TAG]).strip()
    try:
        if (name := run_in(container, ["id", "-un"]).strip()) != "shop":
            raise CheckFailed(f"the image's user is called {name!r}")
        for what, command in WORKS.items():
            run_in(container, command)
            print(f"image-check: {what}")
        for what, command in FINDS_NOTHING.items():
            if found := run_in(container, ["sh", "-c", '"$@" 2>/dev/null || true', "find", *command]):
                raise CheckFailed(f"in the image there are {what}:\n{found[:2000]}")
            print(f"image-check: no {what}")
    finally:
        buildah(["rm", container])


def run_in(container: str, command: Sequence[str]) -> str:
    """Run a command in the image as its user, and return what it prints."""
    variables = [f"--env={name}={value}" for name, value in ENVIRONMENT.items()]
    return buildah(["run", "--isolation", "chroot", *variables, container, "--", *command])


def buildah(words: Sequence[str]) -> str:
    """Run buildah and return what it prints."""
    done = subprocess.run(["buildah", *words], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise CheckFailed(f"buildah {' '.join(words)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())

"""What stands for the images of the compose file: programs of this machine, and this checkout.

What only a real image can show is not shown by this: its own packages and files. `image_check` builds it.
"""

import json
import re
import shlex
import shutil
import signal
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from backout.testing.servers import ServerSource, postgres, valkey
from backout.testing.servers.process import unprivileged_account
from tests.compose.failure import CheckFailed
from tests.compose.model import Service

ROOT: Final = Path(__file__).parents[2]
SOURCES: Final = (ServerSource.MACHINE, ServerSource.WHEEL)
SYSTEM_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
SYSTEM_FOLDERS: Final = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc", "/dev")
PACKAGES: Final = "/opt/packages"
"""Where the checkout's package is seen in a service, as if it were installed."""

PREPARE_POSTGRES: Final = r"""
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    printf %s "$POSTGRES_PASSWORD" > /tmp/password
    initdb --no-sync --encoding UTF8 --username "$POSTGRES_USER" --pwfile /tmp/password --auth-local trust \
        --auth-host scram-sha-256 --pgdata "$PGDATA" || exit 1
    rm /tmp/password
    echo "host all all all scram-sha-256" >> "$PGDATA/pg_hba.conf"
    echo "CREATE DATABASE \"$POSTGRES_DB\"" | postgres --single -D "$PGDATA" postgres || exit 1
fi
exec "$@" -c listen_addresses='*' -c unix_socket_directories=/tmp
"""
"""What the image's entry point does before and when it starts the server."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """What a service finds when it starts."""

    command: tuple[str, ...]
    """Run when the service names none."""
    entry: tuple[str, ...] = ()
    """Words before the command."""
    options: tuple[str, ...] = ()
    """Words after the command: what the image has configured, and a program of this machine has not."""
    environment: dict[str, str]
    user_id: int
    group_id: int
    working_folder: str
    stop_signal: signal.Signals = signal.SIGTERM
    visible: tuple[Path, ...] = ()
    """Folders of this machine that are seen at their own place, beside those of the system."""
    mounts: tuple[tuple[Path, str], ...] = ()
    """Folders and files of this machine that are seen elsewhere, none of them to be written in."""


def find_image(service: Service, *, folder: Path) -> Image:
    """Return what stands for the service's image; `folder` is for files that have to be made for it."""
    if service.build is not None:
        return make_own_image(folder)
    match service.image.partition(":")[0]:
        case "redis":
            return make_redis_image(folder)
        case "postgres":
            return make_postgres_image()
        case name:
            raise CheckFailed(
                f"no program is known that stands for the image {name}; add it to tests/compose/images.py"
            )


def make_redis_image(folder: Path) -> Image:
    """Return Redis or Valkey under the names that the image has."""
    client = shutil.which("redis-cli") or shutil.which("valkey-cli")
    if client is None:
        raise CheckFailed("neither redis-cli nor valkey-cli is on the PATH: apt install redis-tools")
    server = valkey.find_program(SOURCES).path
    programs = folder / "redis-programs"
    programs.mkdir(exist_ok=True)
    for name, path in {"redis-server": server, "redis-cli": Path(client)}.items():
        (programs / name).unlink(missing_ok=True)
        (programs / name).symlink_to(path.resolve())
    user_id, group_id = server_account()
    return Image(
        command=("redis-server",),
        options=("--protected-mode", "no"),
        environment={"PATH": f"/opt/redis:{SYSTEM_PATH}"},
        user_id=user_id,
        group_id=group_id,
        working_folder="/data",
        visible=(Path(sys.prefix), server.resolve().parent),
        mounts=((programs, "/opt/redis"),),
    )


def make_postgres_image() -> Image:
    """Return PostgreSQL with what its image does at the first start."""
    server = postgres.find_program(SOURCES, account=unprivileged_account()).path
    user_id, group_id = server_account()
    return Image(
        entry=("/bin/sh", "-c", PREPARE_POSTGRES, "prepare"),
        command=("postgres",),
        environment={"PATH": f"{server.parent}:{SYSTEM_PATH}", "PGDATA": "/var/lib/postgresql/data"},
        user_id=user_id,
        group_id=group_id,
        working_folder="/tmp",
        stop_signal=signal.SIGINT,  # ends what its clients are doing; SIGTERM would wait for them
        visible=(Path(sys.prefix), server.parents[1]),
    )


def server_account() -> tuple[int, int]:
    """Return an unprivileged account that exists: PostgreSQL wants to know its name."""
    account = unprivileged_account()
    if account is None:
        raise CheckFailed("the check runs as root only")
    return account.user_id, account.group_id


def make_own_image(folder: Path) -> Image:
    """Return this checkout as its Dockerfile packs it, with the Python environment that runs the check."""
    image = read_dockerfile(ROOT / "Dockerfile")
    files = folder / "own-image"
    if not files.exists():
        # A copy, as an image holds one: neither the checkout's folder nor what is written there plays a part.
        without = shutil.ignore_patterns("__pycache__", "*.sqlite3*", ".env*")
        shutil.copytree(ROOT / "examples/django_shop", files / "shop", ignore=without)
        shutil.copytree(ROOT / "backout", files / "packages/backout", ignore=without)
        # The image has made its user with `useradd`.
        for name, line in (("passwd", "shop:x:{}:{}::/nonexistent:/usr/sbin/nologin\n"), ("group", "shop:x:{1}:\n")):
            known = Path("/etc", name).read_text()
            (files / name).write_text(known + line.format(image.user_id, image.group_id))
    return replace(
        image,
        environment={**image.environment, "PYTHONPATH": PACKAGES},
        visible=(Path(sys.prefix), Path(sys.base_prefix)),
        mounts=(
            (files / "shop", image.working_folder),
            (files / "packages", PACKAGES),
            (Path(sys.prefix), "/opt/venv"),
            (files / "passwd", "/etc/passwd"),
            (files / "group", "/etc/group"),
        ),
    )


def read_dockerfile(path: Path) -> Image:
    """Return what the last stage of a Dockerfile sets: environment, folder, user, and command."""
    text = path.read_text().replace("\\\n", " ")
    environment = {"PATH": SYSTEM_PATH}
    settings: dict[str, str] = {}
    for line in re.split(r"(?m)^FROM .*$", text)[-1].splitlines():
        instruction, _, value = line.strip().partition(" ")
        if instruction == "ENV":
            for word in shlex.split(value):
                name, _, content = word.partition("=")
                environment[name] = content.replace("$PATH", environment["PATH"])
        elif instruction.isupper():
            settings[instruction] = value
    user, _, group = settings.get("USER", "").partition(":")
    if not (user.isdecimal() and group.isdecimal()) or user == "0":
        raise CheckFailed(f"{path.name}: USER must name an unprivileged user and group by number")
    if "ENTRYPOINT" in settings:
        raise CheckFailed(f"{path.name}: this check does not know what an ENTRYPOINT does; teach it")
    return Image(
        command=tuple(json.loads(settings.get("CMD", "[]"))),
        environment=environment,
        user_id=int(user),
        group_id=int(group),
        working_folder=settings.get("WORKDIR", "/"),
        stop_signal=signal.Signals[settings.get("STOPSIGNAL", "SIGTERM")],
    )

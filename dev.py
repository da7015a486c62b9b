#!/usr/bin/env python3
"""Set up this repository and run its jobs: `python3 dev.py demo | test | check | …`; `--help` lists them.

Needs Python 3.11 or newer and nothing else. Every job first makes sure that `.venv` holds exactly what `pyproject.toml`
and `constraints.txt` ask for; when nothing changed since the last time, that takes a few milliseconds. uv does the
installing if it is on the PATH or can be fetched into `.tools`, otherwise pip does it (slower, same result).

Environment: BACKOUT_NO_UV=1 never uses uv.
"""

# Only the standard library, and only syntax that Python 3.8 can read: an older interpreter must get far enough to look
# for a newer one. Runs before anything is installed, so it shares no code with the package.
from __future__ import annotations

import argparse
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

OLDEST_PYTHON = (3, 11)
NEWER_PYTHONS = ["python3.14", "python3.13", "python3.12", "python3.11", "python3", "python"]

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
VENV_BIN = VENV / "bin"
VENV_PYTHON = VENV_BIN / "python"
STAMP = VENV / ".backout-set-up"
PRIVATE_UV = ROOT / ".tools" / "uv"
CONSTRAINTS = "constraints.txt"
PACKAGE = ".[dev]"
PEERS = ".[bench]"
WITH_PEERS = "--with-peers"
# Pinned in constraints.txt too, although no extra asks for it: the tool that installs is part of what was tested.
SETUP_TOOLS = ["uv>=0.9,<1"]
# In the order of the files: those with few tests take longest, and would otherwise all come last.
IN_PARALLEL = ["--numprocesses", "4", "--dist", "loadfile", "--no-loadscope-reorder"]
# None of these may point into another project's environment.
FOREIGN_VARIABLES = ["VIRTUAL_ENV", "PYTHONHOME", "PYTHONPATH", "CONDA_PREFIX", "UV_PROJECT_ENVIRONMENT"]


class SetupError(Exception):
    """Something that the person at the keyboard must mend; the message says what and how."""


def main() -> int:
    """Run the job named on the command line and return its exit code."""
    use_new_enough_python()
    arguments, passed_on = parse_arguments(sys.argv[1:])
    jobs = {
        "setup": run_setup,
        "demo": run_demo,
        "test": run_tests,
        "check": run_check,
        "lint": run_lint,
        "format": run_format,
        "bench": run_bench,
        "crash-matrix": run_crash_matrix,
        "soak": run_soak,
        "explore": run_explore,
        "compose-check": run_compose_check,
        "image-check": run_image_check,
        "lock": run_lock,
    }
    try:
        if arguments.job != "lock":
            set_up()
        return jobs[arguments.job](passed_on)
    except SetupError as error:
        print(f"\ndev.py: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def parse_arguments(words: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """Split the command line into our own words and those passed on to the job."""
    parser = argparse.ArgumentParser(
        prog="dev.py",
        usage="python3 dev.py JOB [arguments of the job]",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Set up this repository and run one of its jobs.",
        epilog="""jobs:
  setup         create or refresh .venv, nothing else
  demo [...]    backout demo, with the arguments given
  test [...]    pytest, with the arguments given
  check         everything CI runs: lint, then all tests
  lint          check without the tests: ruff format, ruff, mypy, import layers, Dockerfile and compose file
  format        rewrite the code in the house's format
  bench [...]   the benchmarks, with the arguments given; --with-peers installs what is compared
  crash-matrix [...]  every disaster at every fault point, on every broker and database
  soak [...]    thousands of runs while everything is killed at random
  explore [...]  every state that modelled pipelines can reach, under the rules
  compose-check  docker-compose.yml as processes of this machine, with orders and crashes (Linux, root)
  image-check [...]  the image, built with buildah and looked at
  lock          renew constraints.txt within the bounds of pyproject.toml (needs uv)""",
    )
    parser.add_argument(
        "job",
        choices=[
            "setup",
            "demo",
            "test",
            "check",
            "lint",
            "format",
            "bench",
            "crash-matrix",
            "soak",
            "explore",
            "compose-check",
            "image-check",
            "lock",
        ],
        metavar="JOB",
    )
    return parser.parse_args(words[:1]), words[1:]


# --- Python -----------------------------------------------------------------------------------------------------------


def use_new_enough_python() -> None:
    """Go on under a Python that is new enough, replacing this process if another one has to be used."""
    if sys.version_info[:2] >= OLDEST_PYTHON:
        return
    for name in NEWER_PYTHONS:
        path = shutil.which(name)
        if path and is_new_enough(path):
            os.execv(path, [path, str(ROOT / "dev.py"), *sys.argv[1:]])
    sys.exit(
        "dev.py: Python {}.{} or newer is needed; this is {}.{} and none newer is on the PATH.\n"
        "Install one (Debian, Ubuntu: sudo apt install python3.11 python3.11-venv; macOS: brew install python@3.13) "
        "and try again.".format(*OLDEST_PYTHON, *sys.version_info[:2])
    )


def is_new_enough(path: str) -> bool:
    """Tell whether the interpreter at `path` starts and is new enough; a version manager's stub may not start."""
    check = f"import sys; sys.exit(sys.version_info[:2] < {OLDEST_PYTHON!r})"
    return subprocess.run([path, "-c", check], capture_output=True, check=False).returncode == 0


# --- Set-up -----------------------------------------------------------------------------------------------------------


def set_up() -> None:
    """Make `.venv` hold what the repository asks for; do nothing if it does already."""
    stamp = describe_set_up()
    if VENV_PYTHON.exists() and STAMP.exists() and STAMP.read_text() == stamp:
        return
    started = time.monotonic()
    STAMP.unlink(missing_ok=True)
    say(f"Setting up .venv with Python {sys.version.split()[0]} (first time or something changed)")
    uv = find_uv()
    if not (uv and install_with_uv(uv)):
        install_with_pip(uv)
    STAMP.write_text(stamp)
    say(f"Ready after {time.monotonic() - started:.0f} s")


def describe_set_up() -> str:
    """Return a text that changes whenever `.venv` has to be made anew."""
    digest = hashlib.sha256()
    for name in ("pyproject.toml", CONSTRAINTS):
        digest.update((ROOT / name).read_bytes())
    # The place is part of it because console scripts hold absolute paths: a moved checkout needs a new environment.
    return f"{digest.hexdigest()}\n{sys.version}\n{ROOT}\n{PACKAGE}\n"


def find_uv() -> list[str] | None:
    """Return the command that starts uv, fetched into `.tools` if need be; None if uv cannot or must not be used."""
    if os.environ.get("BACKOUT_NO_UV"):
        return None
    on_path = shutil.which("uv")
    if on_path:
        return [on_path]
    private = PRIVATE_UV / "bin" / "uv"
    if not private.exists() and not fetch_uv():
        return None
    return [str(private)] if private.exists() else None


def fetch_uv() -> bool:
    """Fetch uv into `.tools`: a folder of its own is allowed even where PEP 668 forbids installing."""
    if not has_module("pip"):
        return False
    say("Fetching uv, which installs the rest faster")
    shutil.rmtree(PRIVATE_UV, ignore_errors=True)
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    # Quiet, because failing is no trouble here: pip then does the rest as well, and says what is wrong.
    return run([*install, "--target", str(PRIVATE_UV), "--constraint", CONSTRAINTS, "uv"], quiet=True) == 0


def install_with_uv(uv: list[str]) -> bool:
    """Make the environment with uv; False if that failed, for example because its package index cannot be reached."""
    say("Installing the dependencies with uv")
    if run([*uv, "venv", "--quiet", "--clear", "--no-project", "--python", sys.executable, str(VENV)]) != 0:
        return False
    install = [*uv, "pip", "install", "--quiet", "--python", str(VENV_PYTHON)]
    return run([*install, "--constraint", CONSTRAINTS, "--editable", PACKAGE]) == 0


def install_with_pip(uv: list[str] | None) -> None:
    """Make the environment with pip."""
    if uv:
        # uv reads neither pip.conf nor PIP_*: a machine with a mirror of its own may reach packages through pip alone.
        say("uv did not succeed; trying again with pip")
    pip = make_environment_for_pip(uv)
    say("Installing the dependencies with pip (about a minute)")
    install = [*pip, "install", "--quiet", "--disable-pip-version-check"]
    if run([*install, "--constraint", CONSTRAINTS, "--editable", PACKAGE]) != 0:
        raise SetupError(
            "the dependencies could not be installed; the messages above say why.\n"
            "If the package index cannot be reached, tell pip where yours is: pip config set global.index-url …"
        )


def make_environment_for_pip(uv: list[str] | None) -> list[str]:
    """Create an empty environment and return the pip command that installs into it."""
    if has_module("venv") and has_module("ensurepip"):
        shutil.rmtree(VENV, ignore_errors=True)
        if run([sys.executable, "-m", "venv", str(VENV)]) == 0:
            return [str(VENV_PYTHON), "-m", "pip"]
    # Debian splits venv and ensurepip off; then the system's pip can fill an environment that something else created.
    if has_module("pip"):
        creators = [[*uv, "venv", "--quiet", "--clear", "--no-project", "--python", sys.executable]] if uv else []
        if has_module("venv"):
            creators.append([sys.executable, "-m", "venv", "--clear", "--without-pip"])
        for creator in creators:
            if run([*creator, str(VENV)]) == 0:
                return [sys.executable, "-m", "pip", "--python", str(VENV_PYTHON)]
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    raise SetupError(
        f"{sys.executable} can create no virtual environment, and uv is not to be had.\n"
        f"Install what your system split off from Python (Debian, Ubuntu: sudo apt install python{version}-venv; "
        f"Fedora: sudo dnf install python3-pip), or uv, and try again."
    )


def has_module(name: str) -> bool:
    """Tell whether this Python came with the module; Debian splits pip, venv and ensurepip off."""
    return importlib.util.find_spec(name) is not None


# --- Jobs -------------------------------------------------------------------------------------------------------------


def run_setup(passed_on: list[str]) -> int:
    """Say where the environment is; it was made already."""
    say(f"Environment: {VENV.relative_to(ROOT)}. Activate it with: source .venv/bin/activate")
    return 0


def run_demo(passed_on: list[str]) -> int:
    """Run `backout demo`."""
    return become([str(VENV_BIN / "backout"), "demo", *passed_on])


def run_tests(passed_on: list[str]) -> int:
    """Run pytest; all tests in several processes, a file in one of them: they wait for servers most of the time."""
    return become([str(VENV_PYTHON), "-m", "pytest", *(passed_on or IN_PARALLEL)])


def run_bench(passed_on: list[str]) -> int:
    """Run the benchmarks."""
    if not (ROOT / "benchmarks" / "__main__.py").exists():
        raise SetupError("there is no benchmarks/__main__.py in this checkout")
    if WITH_PEERS in passed_on:
        install_peers()
    words = [word for word in passed_on if word != WITH_PEERS]
    return become([str(VENV_PYTHON), "-m", "benchmarks", *words])


def install_peers() -> None:
    """Add to `.venv` what backout is compared with; it stays there until the environment is made anew."""
    uv = find_uv()
    pip = [*uv, "pip", "install", "--python", str(VENV_PYTHON)] if uv else [str(VENV_PYTHON), "-m", "pip", "install"]
    say("Installing the libraries that backout is compared with")
    if run([*pip, "--quiet", "--constraint", CONSTRAINTS, "--editable", PEERS]) != 0:
        raise SetupError("the libraries could not be installed; the messages above say why")


def run_crash_matrix(passed_on: list[str]) -> int:
    """Run the crash matrix."""
    return become([str(VENV_PYTHON), "-m", "tests.proof.crash_matrix", *passed_on])


def run_soak(passed_on: list[str]) -> int:
    """Run the soak."""
    return become([str(VENV_PYTHON), "-m", "tests.proof.soak", *passed_on])


def run_explore(passed_on: list[str]) -> int:
    """Explore the model."""
    return become([str(VENV_PYTHON), "-m", "tests.model", *passed_on])


def run_compose_check(passed_on: list[str]) -> int:
    """Run docker-compose.yml without Docker."""
    return become([str(VENV_PYTHON), "-m", "tests.compose", *passed_on])


def run_image_check(passed_on: list[str]) -> int:
    """Build the image and look at it."""
    return become([str(VENV_PYTHON), "-m", "tests.compose.image_check", *passed_on])


def run_format(passed_on: list[str]) -> int:
    """Rewrite the code in the house's format and mend what ruff can mend safely."""
    return max(run([tool("ruff"), "check", "--fix", "--quiet", "."]), run([tool("ruff"), "format", "."]))


def run_lint(passed_on: list[str]) -> int:
    """Run all static checks, also after one of them failed, and name those that did."""
    checks = {
        "format (mend with: python3 dev.py format)": [tool("ruff"), "format", "--check", "."],
        "lint": [tool("ruff"), "check", "."],
        "types": [tool("mypy")],
        "layers": [tool("lint-imports"), "--no-logo"],
        "Dockerfile": [tool("hadolint"), "Dockerfile"],
        "compose file": [tool("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", "docker-compose.yml"],
    }
    failed = []
    for name, command in checks.items():
        say(name)
        if run(command) != 0:
            failed.append(name)
    if failed:
        print("\ndev.py: failed: " + ", ".join(failed), file=sys.stderr)
    return 1 if failed else 0


def run_check(passed_on: list[str]) -> int:
    """Run all static checks and all tests, also if the checks failed."""
    lint_result = run_lint([])
    say("tests")
    return max(lint_result, run([str(VENV_PYTHON), "-m", "pytest", *(passed_on or IN_PARALLEL)]))


def run_lock(passed_on: list[str]) -> int:
    """Renew constraints.txt: one exact version per dependency for every Python and system that the project supports."""
    uv = find_uv()
    if not uv:
        raise SetupError("renewing constraints.txt needs uv, which is neither on the PATH nor could be fetched")
    with tempfile.TemporaryDirectory() as folder:
        tools = Path(folder) / "tools.in"
        tools.write_text("\n".join(SETUP_TOOLS) + "\n")
        # No header, annotations or index lines: they would carry this machine's paths and hosts into the repository.
        options = ["--universal", "--python-version", "3.11", "--all-extras", "--upgrade", "--quiet"]
        plain = ["--no-header", "--no-annotate", "--no-emit-index-url", "--no-emit-find-links"]
        output = ["--output-file", CONSTRAINTS]
        return run([*uv, "pip", "compile", *options, *plain, *output, *passed_on, "pyproject.toml", str(tools)])


def tool(name: str) -> str:
    """Return the path of a tool inside the environment."""
    return str(VENV_BIN / name)


# --- Processes --------------------------------------------------------------------------------------------------------


def run(command: list[str], quiet: bool = False) -> int:
    """Run a command in the repository and return its exit code; `quiet` hides what it prints."""
    stream = subprocess.DEVNULL if quiet else None
    return subprocess.run(command, cwd=ROOT, env=environment(), stdout=stream, stderr=stream, check=False).returncode


def become(command: list[str]) -> int:
    """Let the command take the place of this process, so that signals and the exit code are its own."""
    sys.stdout.flush()
    os.chdir(ROOT)
    os.execve(command[0], command, environment())


def environment() -> dict[str, str]:
    """Return this process's environment without what points into another project's Python."""
    variables = {name: value for name, value in os.environ.items() if name not in FOREIGN_VARIABLES}
    variables["PATH"] = str(VENV_BIN) + os.pathsep + variables.get("PATH", "")
    if "PIP_INDEX_URL" in variables:
        # uv does not read it; a person who set it does not want the public index to be asked.
        variables.setdefault("UV_DEFAULT_INDEX", variables["PIP_INDEX_URL"])
    return variables


def say(text: str) -> None:
    """Print one line of progress."""
    print(f"==> {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())

"""Findings about the settings of backout and of the Celery app, and about installed versions. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from backout.settings import Settings
from backout.tasks.doctor.facts import AppFacts, Facts, Failed, NotAsked
from backout.tasks.doctor.findings import Code, Finding, Level, fine
from backout.tasks.doctor.versions import TESTED, is_tested
from backout.tasks.doctor.wording import say_names, say_seconds

SHORTEST_RESEND_SECONDS: Final = 30.0


def check_settings(facts: Facts) -> Iterator[Finding]:
    """Yield what is to be said about them."""
    yield _judge_settings(facts.settings)
    if facts.used_settings is not None:
        yield _judge_resend(facts.used_settings)
    if isinstance(facts.app, AppFacts):
        yield _judge_eager(facts, facts.app)
    yield judge_versions(Code.VERSIONS, {"here": facts.versions})


def _judge_settings(settings: Settings | Failed | NotAsked) -> Finding:
    match settings:
        case Failed(said=said, remedy=remedy):
            return Finding(
                code=Code.SETTINGS,
                level=Level.PROBLEM,
                found=said,
                why="No worker of this app starts, and nothing can be enqueued",
                remedy=remedy,
            )
        case NotAsked(reason=reason):
            return Finding(code=Code.SETTINGS, level=Level.NOTE, found=f"not looked at: {reason}")
        case Settings():
            return fine(Code.SETTINGS, "every `backout_*` setting can be used")


def _judge_resend(settings: Settings) -> Finding:
    seconds = say_seconds(settings.resend_seconds)
    if settings.resend_seconds >= SHORTEST_RESEND_SECONDS:
        return fine(Code.RESEND_SECONDS, f"a message that nobody takes up is sent again after {seconds}")
    return Finding(
        code=Code.RESEND_SECONDS,
        level=Level.WARNING,
        found=f"a message that nobody takes up is sent again after {seconds} already",
        why=(
            "Messages that only wait in a queue are sent again too, and the queue grows: 2 s made 516 useless "
            "deliveries for 300 steps"
        ),
        remedy="Give messages the time that they wait in your queues at the busiest hour, at least 60 s",
        to_copy="app.conf.backout_resend_seconds = 60",
    )


def _judge_eager(facts: Facts, app: AppFacts) -> Finding:
    eager = [worker.name for worker in facts.known_workers if worker.backout and worker.conf.get("task_always_eager")]
    if app.is_eager:
        eager.append("this app")
    if not eager:
        return fine(Code.ALWAYS_EAGER, "tasks run in workers, not where they are sent")
    return Finding(
        code=Code.ALWAYS_EAGER,
        level=Level.PROBLEM,
        found=f"`task_always_eager` is on in {say_names(eager)}",
        why="A chain of compensations then runs inside the process that starts it, without acknowledgement or retry",
        remedy="Turn it off; tests of pipelines need a worker",
        to_copy="app.conf.task_always_eager = False",
    )


def judge_versions(code: Code, versions: Mapping[str, Mapping[str, str]]) -> Finding:
    """Return what is to be said about versions.

    Args:
        code: of the finding.
        versions: where they are installed, to package, to version.
    """
    beyond = {
        f"{package} {version}"
        for found in versions.values()
        for package, version in found.items()
        if not is_tested(package, version)
    }
    if not beyond:
        found = next(iter(versions.values()), {})
        named = [f"{package} {found[package]}" for package in ("backout", "celery", "kombu") if package in found]
        return fine(code, f"{', '.join(named)}: the tests cover these versions")
    packages = sorted({item.partition(" ")[0] for item in beyond})
    return Finding(
        code=code,
        level=Level.WARNING,
        found=f"no test has run on {say_names(beyond)}",
        why="The engine relies on the order of events inside these packages, which their releases may change",
        remedy="Install versions in the tested range",
        to_copy="pip install " + " ".join(f'"{name}>={TESTED[name][0]},<{TESTED[name][1]}"' for name in packages),
    )

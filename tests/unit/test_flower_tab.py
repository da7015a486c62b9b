"""The parts of Flower's tab that need no Flower: which command is meant, and what is added to a navigation."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import pytest

from backout.cli.celery_entry import find_command
from backout.integrations.flower.choices import Choices
from backout.integrations.flower.navigation import LinkTransform, add_items, add_modules


@pytest.mark.parametrize(
    ("words", "command"),
    [
        ("-A proj flower --port=5555", "flower"),
        ("--app proj -b redis://x flower", "flower"),
        ("--app=proj --workdir /tmp flower", "flower"),
        ("-q -C flower", "flower"),
        ("-A flower worker", "worker"),
        ("-A proj worker -n flower", "worker"),
        ("-A proj backout flower", "backout"),
        ("--help", None),
        ("", None),
    ],
)
def test_the_command_is_told_from_the_values_of_options(words: str, command: str | None) -> None:
    """An app may be called flower, and a worker too."""
    assert find_command(words.split()) == command


def test_other_commands_load_nothing_of_it() -> None:
    """Each worker imports the entry point: it may cost no memory there."""
    script = (
        "import sys; sys.argv = ['celery', '-A', 'proj', 'worker']; import backout.cli.celery_entry;"
        "print([name for name in ('tornado', 'sqlalchemy', 'flower', 'pydantic') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_tab_looks_like_its_neighbours_and_escapes() -> None:
    """Classes are those of the first item; the words and addresses are text."""
    navigation = '<nav><ul class="a"><li class="item x"><a class="link active" href="/">W</a></li></ul><ul></ul></nav>'
    drawn = add_items(navigation, [("Runs & more", "/runs?a=1&b=2", True)])
    added = '<li class="item x"><a class="link active" href="/runs?a=1&amp;b=2" aria-current="page">'
    assert f"</li>{added}Runs &amp; more</a></li>\n</ul><ul>" in drawn


def test_modules_of_others_stay() -> None:
    """Another plug-in may have put its own there first."""
    assert add_modules(None, {}) == {}
    assert add_modules({"Other": 1}, {}) == [{"Other": 1}, {}]
    assert add_modules(["other"], {}) == ["other", {}]


def test_a_link_is_added_to_whole_pages_only() -> None:
    """Not to what a program asked for, and the length is told anew."""
    transform = LinkTransform(SimpleNamespace(path="/tasks"))
    headers = {"Content-Type": "text/html; charset=UTF-8", "Content-Length": "20"}
    _, headers, chunk = transform.transform_first_chunk(200, headers, b"<body></body>", True)
    assert b'href="/runs"' in chunk
    assert headers["Content-Length"] == str(len(chunk))
    _, _, data = transform.transform_first_chunk(200, {"Content-Type": "application/json"}, b"</body>", True)
    assert data == b"</body>"


@pytest.mark.parametrize(
    ("given", "name", "why"),
    [
        ({}, "anonymous", "does not ask who you are"),
        ({"backout_act_without_login": True}, "anonymous", ""),
        ({"basic_auth": ["a:b"]}, "a", ""),
        ({"basic_auth": ["a:b"], "backout_operators": [" a ", ""]}, "a", ""),
        ({"basic_auth": ["a:b"], "backout_operators": ["b"]}, "a", "a is not among the operators"),
        ({"basic_auth": ["a:b"], "backout_operators": [""]}, "a", "nobody is named as an operator"),
        ({"auth": ".*@x", "backout_operators": ["b@x"]}, "b@x", ""),
        ({"basic_auth": ["a:b"], "read_only": True, "backout_operators": ["a"]}, "a", "read-only"),
        ({"backout_act_without_login": True, "backout_read_only": True}, "anonymous", "read-only"),
    ],
)
def test_who_may_act(given: dict[str, object], name: str, why: str) -> None:
    """Read-only comes before everything, and no list means whoever is logged in."""
    said = choices(given).say_why_not(name)
    assert why in said
    assert bool(said) is bool(why)


@pytest.mark.parametrize(
    ("given", "who"),
    [
        ({}, "nobody, because this Flower does not ask who you are"),
        ({"backout_act_without_login": True}, "whoever reaches it"),
        ({"basic_auth": ["a:b"]}, "whoever is logged in"),
        ({"basic_auth": ["a:b"], "backout_operators": ["b", " a"]}, "a, b"),
        ({"basic_auth": ["a:b"], "backout_operators": [""]}, "nobody, because nobody is named as an operator"),
        ({"basic_auth": ["a:b"], "backout_operators": ["a"], "read_only": True}, "nobody, because this Flower is read"),
    ],
)
def test_the_log_says_who_may_act(given: dict[str, object], who: str) -> None:
    """As each of them is told."""
    assert choices(given).say_who_acts().startswith(who)


def choices(given: dict[str, object]) -> Choices:
    """Return what Flower's options say, those that are not given as they are by default."""
    options = {
        "backout_database_url": "",
        "backout_operators": [],
        "backout_read_only": False,
        "backout_act_without_login": False,
        "backout_metrics_seconds": 15,
        "basic_auth": None,
        "auth": "",
    }
    return Choices.of(SimpleNamespace(**{**options, **given}))

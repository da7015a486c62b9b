"""The tab in each release of Flower, in one whose pages look otherwise, and by each of the ways to it."""

from __future__ import annotations

import shutil
from pathlib import Path

import flower
import pytest

from backout.ledger.session import Ledger
from tests.integrations.flower.starting import ALICE, LOGIN, Start
from tests.support.flowers import Flower, find_release, run_flower
from tests.support.forms import Reader
from tests.support.scenes import reserved
from tests.support.stack import Stack
from tests.support.waiting import wait_until
from tests.support.worker import ROOT

STOCK_PAGES = ("/workers", "/tasks", "/broker")


def read_links(target: Flower, path: str) -> list[str]:
    """Return where a page leads."""
    shown = target.client(ALICE).get(path)
    assert shown.status == 200, shown.text
    return Reader(shown.text).links


def copy_flower(folder: Path, **replaced: tuple[str, str]) -> Path:
    """Return a folder with the installed Flower whose templates were changed, as another release may change them."""
    shutil.copytree(Path(flower.__file__).parent, folder / "flower")
    for name, (before, after) in replaced.items():
        template = folder / "flower" / "templates" / f"{name}.html"
        text = template.read_text()
        assert before in text
        template.write_text(text.replace(before, after))
    return folder


@pytest.mark.parametrize("version", ["2.0.1", "2.1.0", "2.2"])
def test_every_page_of_flower_has_the_tab(start: Start, ledger: Ledger, version: str) -> None:
    """It stands in the navigation once, and leads to runs in Flower's own frame."""
    run = reserved(ledger)
    packages = find_release(version) if version != "2.2" else None
    running = start(LOGIN, packages=packages)
    for path in (*STOCK_PAGES, "/runs", f"/runs/{run.id}"):
        assert read_links(running, path).count("/runs") >= 1, path
    page = running.client(ALICE).get("/runs").text
    assert run.id in page
    assert 'class="navbar-toggler"' in page, "Flower's frame is around it"
    assert f"Runs tab: on /runs (Flower {version}" in running.log
    assert "backout_ledger_up" in running.client().get("/metrics").text


def test_below_a_prefix_every_address_has_it(start: Start, ledger: Ledger) -> None:
    """Pages, style sheet and script; a proxy passes on nothing else."""
    run = reserved(ledger)
    running = start(LOGIN, "--backout_operators=alice,carol@example.com", "--url_prefix=mon/flower")
    for path in ("/tasks", "/runs", f"/runs/{run.id}", "/reviews"):
        for link in read_links(running, path):
            assert link.startswith(("/mon/flower/", "https://", "#")), f"{path} leads to {link}"
    (sheet,) = (link for link in read_links(running, "/runs") if "backout/style.css" in link)
    kept = running.client().get(sheet)
    assert kept.status == 200
    assert "immutable" in kept.headers["cache-control"]
    assert "Runs tab: on /mon/flower/runs" in running.log


@pytest.mark.parametrize(
    ("replaced", "sign"),
    [
        ({"navbar": ("<ul", "<menu")}, "backout-way"),
        ({"base": ('{% module Template("navbar.html", active_tab="") %}', "")}, "backout-way"),
        ({"base": ("{% block container %}", "{% block middle %}")}, "/runs"),
    ],
    ids=["no list in the navigation", "no navigation that is known", "no place for a page"],
)
def test_in_a_flower_that_looks_otherwise_the_runs_are_still_there(
    start: Start, ledger: Ledger, tmp_path: Path, replaced: dict[str, tuple[str, str]], sign: str
) -> None:
    """A link takes the tab's place, a plain frame that of Flower's."""
    run = reserved(ledger)
    running = start(LOGIN, packages=copy_flower(tmp_path, **replaced))
    assert sign in running.client(ALICE).get("/workers").text
    assert "/runs" in read_links(running, "/workers")
    shown = running.client(ALICE).get("/runs")
    assert shown.status == 200
    assert run.id in shown.text
    assert "backout/style.css" in shown.text
    assert "Traceback" not in running.log


def test_two_lines_in_its_configuration_are_enough(start: Start, ledger: Ledger, tmp_path: Path) -> None:
    """For those who start Flower in a way that loads no entry points; options of the tab may stand beside them."""
    run = reserved(ledger)
    configuration = tmp_path / "flowerconfig.py"
    configuration.write_text(
        "from backout.integrations.flower import install\ninstall()\n"
        "backout_read_only = True\nbackout_metrics_seconds = 0\n"
        f"basic_auth = ['{ALICE}']\n"
    )
    running = start(f"--conf={configuration}", environment={"BACKOUT_FLOWER": "off"})
    shown = running.client(ALICE).get(f"/runs/{run.id}").text
    assert "this Flower is read-only" in shown
    assert "backout" not in running.client().get("/metrics").text
    assert running.client().get("/runs").status == 401


def test_the_command_of_its_own_starts_the_same_flower(start: Start, ledger: Ledger) -> None:
    """`celery -A proj backout flower`, with Flower's options, its variables among them."""
    run = reserved(ledger)
    variables = {"BACKOUT_FLOWER": "off", "FLOWER_BASIC_AUTH": ALICE, "FLOWER_BACKOUT_OPERATORS": "bob,carol"}
    running = start(command=("backout", "flower"), environment=variables)
    shown = running.client(ALICE).get(f"/runs/{run.id}").text
    assert "alice is not among the operators" in shown


@pytest.mark.parametrize("option", ["--backout_operators=bob", "--backout-operators=bob"])
def test_a_file_that_installs_the_tab_does_not_lose_what_the_command_line_says(
    start: Start, ledger: Ledger, tmp_path: Path, option: str
) -> None:
    """Flower drops what it does not know when it reads its command line, and that is before its file."""
    run = reserved(ledger)
    configuration = tmp_path / "flowerconfig.py"
    configuration.write_text("from backout.integrations.flower import install\ninstall()\n")
    running = start(f"--conf={configuration}", LOGIN, option, environment={"BACKOUT_FLOWER": "off"})
    assert "alice is not among the operators" in running.client(ALICE).get(f"/runs/{run.id}").text
    assert "Runs tab: may act: bob" in running.log


@pytest.mark.parametrize("misspelt", ["--backout_operator=bob", "FLOWER_BACKOUT_OPERATOR"])
def test_a_misspelt_option_lets_nobody_act(start: Start, ledger: Ledger, misspelt: str) -> None:
    """Flower drops it without a word; what it was to forbid is not known."""
    run = reserved(ledger)
    is_word = misspelt.startswith("--")
    running = start(LOGIN, *([misspelt] if is_word else []), environment={} if is_word else {misspelt: "bob"})
    why = "an option that there is not, or a value that cannot be used (--backout_operator)"
    assert why in running.client(ALICE).get(f"/runs/{run.id}").text
    assert "nobody may act" in running.log


@pytest.mark.parametrize(
    ("option", "name"),
    [
        ("--backout_metrics_seconds=often", "--backout_metrics_seconds"),
        ("--backout_database_url", "--backout_database_url"),
        ("FLOWER_BACKOUT_METRICS_SECONDS=often", "--backout_metrics_seconds"),
    ],
)
def test_a_value_that_cannot_be_used_lets_nobody_act(
    start: Start, ledger: Ledger, tmp_path: Path, option: str, name: str
) -> None:
    """Where the tab is installed late Flower does not refuse it; what comes after it is read all the same."""
    run = reserved(ledger)
    configuration = tmp_path / "flowerconfig.py"
    configuration.write_text("from backout.integrations.flower import install\ninstall()\n")
    variables = dict([option.split("=")]) if option.startswith("FLOWER_") else {}
    words = [] if variables else [option]
    running = start(
        f"--conf={configuration}",
        LOGIN,
        *words,
        "--backout_operators=bob",
        environment={"BACKOUT_FLOWER": "off", **variables},
    )
    assert f"or a value that cannot be used ({name})" in running.client(ALICE).get(f"/runs/{run.id}").text
    assert f"{name}: there is no such option, or its value cannot be used" in running.log
    assert "Runs tab: may act: nobody" in running.log
    assert "Traceback" not in running.log


@pytest.mark.parametrize(
    ("value", "why"),
    [("no", "does not ask who you are"), ("Off", "does not ask who you are"), ("", "cannot be used"), ("yes", "")],
)
def test_a_no_on_the_command_line_is_a_no(start: Start, ledger: Ledger, value: str, why: str) -> None:
    """To Tornado all is a yes that is not false, f or 0."""
    run = reserved(ledger)
    running = start(f"--backout_act_without_login={value}", environment={"FLOWER_UNAUTHENTICATED_API": "1"})
    page = running.client().get(f"/runs/{run.id}").text
    assert why in page
    assert ("You may look, and not act" in page) is bool(why)


def test_in_a_django_project_the_ledger_is_djangos(shop: Stack, tmp_path: Path) -> None:
    """Its settings are there only after Celery has set Django up."""
    with run_flower(
        LOGIN,
        app="shop",
        environment={
            "CELERY_BROKER_URL": shop.corner.url,
            "DATABASE_URL": f"sqlite:///{tmp_path / 'shop.sqlite3'}",
            "DJANGO_SECRET_KEY": "of this test",
        },
        folder=tmp_path,
        packages=ROOT / "examples" / "django_shop",
    ) as running:
        wait_until(lambda: "backout_ledger_up" in running.client().get("/metrics").text, 20, "metrics are told")
        shown = running.client(ALICE).get("/runs")
        assert "ledger has no tables" in shown.text or "backout ledger upgrade" in shown.text


def test_turned_off_flower_is_as_it_was(start: Start) -> None:
    """Nobody is given a tab that they do not want."""
    running = start(LOGIN, environment={"BACKOUT_FLOWER": "off"})
    assert "/runs" not in read_links(running, "/workers")
    assert running.client(ALICE).get("/runs").status == 404
    assert "backout" not in running.client(ALICE).get("/metrics").text

"""The page about metrics, the rules for alerts and the dashboard name what there is, no more and no less."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from backout.views.metrics import METRICS, Kind, Metric

DOCS = Path(__file__).parents[2] / "docs"
REFERENCE = DOCS / "reference" / "metrics.md"
DASHBOARD = json.loads((DOCS / "monitoring" / "grafana-dashboard.json").read_text())
RULES = yaml.safe_load((DOCS / "monitoring" / "alerts.yml").read_text())["groups"][0]["rules"]
SERIES: dict[str, Metric] = {
    f"{metric.name}{suffix}": metric
    for metric in METRICS
    for suffix in (("_bucket", "_sum", "_count") if metric.kind is Kind.HISTOGRAM else ("",))
}
"""Names as they are asked for."""


def named(expression: str) -> set[str]:
    """Return the series that an expression asks for."""
    return set(re.findall(r"\bbackout_\w+", expression))


def labels_in(expression: str, shown: str) -> set[str]:
    """Return the labels that an expression keeps or compares, and those that are shown of what it finds."""
    kept = re.findall(r"by \(([^)]*)\)", expression)
    compared = re.findall(r"(\w+)=~?\"|(\w+)!~?\"", expression)
    return {
        *(name.strip() for names in kept for name in names.split(",")),
        *(name for pair in compared for name in pair if name),
        *re.findall(r"\{\{ ?(?:\$labels\.)?(\w+) ?\}\}", shown),
    } - {"le"}


def asked() -> Iterator[tuple[str, str]]:
    """Yield each expression of the rules and of the dashboard, with what is shown of its labels."""
    for rule in RULES:
        yield rule["expr"], " ".join(rule["annotations"].values())
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            yield target["expr"], target["legendFormat"]


def test_every_metric_has_its_line() -> None:
    """The page says what the code says, in its order."""
    rows = re.findall(r"^\| `backout_.*$", REFERENCE.read_text(), re.MULTILINE)
    assert rows == [
        f"| `{one.name}` | {one.kind.value} | {', '.join(f'`{label}`' for label in one.labels) or '–'} "
        f"| {'seconds' if '_seconds' in one.name else 'number'} | {one.meaning} |"
        for one in METRICS
    ]


def test_expressions_ask_for_series_and_labels_that_there_are() -> None:
    """A misspelt name would be an alert that never comes, and an empty panel."""
    for expression, shown in asked():
        assert named(expression), expression
        assert named(expression) <= set(SERIES), expression
        for name in named(expression):
            assert labels_in(expression, shown) <= set(SERIES[name].labels), expression


def test_several_flowers_are_not_added_up() -> None:
    """Each tells the same: the largest or the smallest value of all is taken first."""
    for expression, _ in asked():
        taken = re.findall(r"(?:max|min)(?: by \([^)]*\))? ?\(", expression)
        assert taken or expression.startswith("absent("), expression
        assert not re.search(r"sum(?: by \([^)]*\))? ?\((?!max)", expression), expression


def test_the_dashboard_shows_every_metric() -> None:
    """What is measured can be looked at."""
    shown = set().union(
        *(named(target["expr"]) for panel in DASHBOARD["panels"] for target in panel.get("targets", ()))
    )
    assert {SERIES[name] for name in shown} == set(METRICS)


def test_the_dashboard_can_be_imported_anywhere() -> None:
    """It names no data source of its own, and no panel covers another."""
    variables = {one["name"]: one for one in DASHBOARD["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    uses = set(re.findall(r"\$\{?(\w+)", json.dumps(DASHBOARD))) - {"__rate_interval", "__all"}
    assert uses == set(variables)
    panels: list[dict[str, Any]] = DASHBOARD["panels"]
    assert {panel["datasource"]["uid"] for panel in panels if panel["type"] != "row"} == {"${datasource}"}
    assert len({panel["id"] for panel in panels}) == len(panels)
    places = [
        (x, y)
        for panel in panels
        for grid in (panel["gridPos"],)
        for x in range(grid["x"], grid["x"] + grid["w"])
        for y in range(grid["y"], grid["y"] + grid["h"])
    ]
    assert len(places) == len(set(places))
    assert max(x for x, _ in places) < 24


def test_every_rule_says_how_bad_it_is_and_what_to_do() -> None:
    """Whoever is woken up reads a sentence about it."""
    for rule in RULES:
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert set(rule["annotations"]) == {"summary", "description"}
        assert rule["alert"].startswith("Backout")

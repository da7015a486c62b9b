"""The ratios as a picture. Needs matplotlib, which is in the extra `bench`."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any, Final

from benchmarks.report import Report
from benchmarks.results import Measure, Result
from benchmarks.ways import BACKOUT, BASELINE

FORMATS: Final = (".png", ".svg", ".pdf")
OURS: Final = "#2f6f4f"
OTHERS: Final = "#9aa5b1"


class CannotPlot(Exception):
    """Why there can be no picture."""


def check_plot(path: Path) -> None:
    """Refuse before anything is measured what could not be written afterwards; raises `CannotPlot`."""
    if path.suffix not in FORMATS:
        raise CannotPlot(f"--plot writes {', '.join(FORMATS)}, not {path.name}")
    if find_spec("matplotlib") is None:
        raise CannotPlot("--plot needs matplotlib, which is not installed (make bench ARGS=--with-peers installs it)")


def plot(report: Report, path: Path) -> None:
    """Write one panel for each measure that is compared with the baseline; raises `CannotPlot` if there is none."""
    panels = [
        (result, measure) for result in report.results for measure in result.measures if _is_shown(result, measure)
    ]
    if not panels:
        raise CannotPlot(f"nothing was compared with the {BASELINE}, so there is nothing to draw")
    # Late, because the extra may be missing; and without a display.
    import matplotlib  # noqa: PLC0415

    matplotlib.use("Agg")
    from matplotlib import pyplot  # noqa: PLC0415

    figure, all_axes = pyplot.subplots(len(panels), 1, figsize=(9, 2.6 * len(panels)), squeeze=False)
    for axes, (result, measure) in zip(all_axes[:, 0], panels, strict=True):
        _draw(axes, result, measure)
    note = f", every flush {report.slow_flush_ms:g} ms slower" if report.slow_flush_ms else ""
    figure.suptitle(f"Ratio to a {BASELINE} with a database result backend; longer is better{note}")
    figure.tight_layout(rect=(0, 0, 1, 0.98))
    figure.savefig(path)
    pyplot.close(figure)


def _is_shown(result: Result, measure: Measure) -> bool:
    return any(result.ratios(way, measure) for way in result.ways)


def _draw(axes: Any, result: Result, measure: Measure) -> None:
    ratios = {way: values for way in reversed(result.ways) if (values := result.ratios(way, measure))}
    middles = {way: median(values) for way, values in ratios.items()}
    errors = [
        [middles[way] - min(values) for way, values in ratios.items()],
        [max(values) - middles[way] for way, values in ratios.items()],
    ]
    colours = [OURS if way.startswith(BACKOUT) else OTHERS for way in ratios]
    axes.barh(list(ratios), list(middles.values()), xerr=errors, color=colours, ecolor="#444444", capsize=2)
    axes.axvline(1.0, color="#444444", linewidth=0.8)
    axes.set_title(f"{result.key}: {result.title}: {measure.title}", fontsize=9, loc="left")
    for number, value in enumerate(middles.values()):
        axes.text(0.02, number, f"{value:.2f}", va="center", fontsize=7, color="white")

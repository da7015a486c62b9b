"""The pages that only show, and what a host gives to all of them; `acting` has those that do something."""

from backout.web.host import Page, Permission, Places, Viewer
from backout.web.pipelines_page import draw_pipelines
from backout.web.review_page import draw_review, draw_reviews
from backout.web.run_page import draw_run
from backout.web.runs_page import draw_runs
from backout.web.style import STYLE

__all__ = [
    "STYLE",
    "Page",
    "Permission",
    "Places",
    "Viewer",
    "draw_pipelines",
    "draw_review",
    "draw_reviews",
    "draw_run",
    "draw_runs",
]

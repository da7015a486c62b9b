"""Runs and reviews in Django's admin: what happened, what is safe to do next, and what a person must decide."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db import transaction
from django.db.models import F
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.urls import path

from backout.integrations.django.filters import AssigneeFilter, DecidedFilter, EnqueuedFilter, PipelineFilter
from backout.integrations.django.models import Review, Run
from backout.integrations.django.pages import PageAdmin, serve_style
from backout.integrations.django.searching import search_runs
from backout.pipelines.engine import current_engine
from backout.states import RunState
from backout.views.marks import RUN_MARKS
from backout.web.acting import Acted, act_on_form, draw_preview, take_review
from backout.web.host import Page
from backout.web.pages import draw_pipelines, draw_review, draw_reviews, draw_run, draw_runs


@admin.register(Run)
class RunAdmin(PageAdmin):
    """Runs: a list to find them, a page for each, and a page to act on it."""

    list_display = (
        "short_id",
        "pipeline",
        "marked_state",
        "operator_state",
        "subject_id",
        "source_event_id",
        "created_at",
        "requires_human_review",
    )
    list_filter = (PipelineFilter, "state", "requires_human_review", EnqueuedFilter)
    list_per_page = 50
    ordering = ("-id",)
    # Where to search is said below.
    search_fields = ("id",)
    search_help_text = "A run's id or its beginning, a whole source event, subject, or external id"

    @admin.display(description="run", ordering="id")
    def short_id(self, run: Run) -> str:
        """Return what is enough to tell runs apart; the end of it, because the beginning is the time."""
        return f"{run.id[:8]}…{run.id[-6:]}"

    @admin.display(description="state", ordering="state")
    def marked_state(self, run: Run) -> str:
        """Return sign and word of the state, in one line."""
        # While releases are mixed, a newer one may have written a state that this one does not know.
        shown = str(RUN_MARKS[RunState(run.state)]) if run.state in set(RunState) else str(run.state)
        return shown.replace(" ", "\N{NO-BREAK SPACE}")

    def get_queryset(self, request: HttpRequest) -> Any:
        """Return runs without what makes them long."""
        return super().get_queryset(request).defer("plan", "input", "output")

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[Any, bool]:
        """Return the runs of what was typed."""
        return (search_runs(queryset, search_term.strip()) if search_term.strip() else queryset), False

    def get_urls(self) -> list[Any]:
        """Return the addresses of the pages beside the admin's own."""
        act = transaction.non_atomic_requests(self.admin_site.admin_view(self.act_view))
        return [
            path("pipelines/", self.admin_site.admin_view(self.pipelines_view), name="backout_run_pipelines"),
            path("style.css", serve_style, name="backout_run_style"),
            path("<path:object_id>/act/", act, name="backout_run_act"),
            *super().get_urls(),
        ]

    def pipelines_view(self, request: HttpRequest) -> HttpResponse:
        """Return the numbers of the pipelines."""
        return self.answer(request, self.draw_pipelines)

    def act_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Return the preview of a form, or do what it asks for."""
        return self.answer(request, self.act if request.method == "POST" else self.preview, object_id)

    def draw_list(self, request: HttpRequest) -> Page:
        """Return the list of runs as a page."""
        return draw_runs(current_engine(), request.GET.dict(), **self.look(request))

    def draw_pipelines(self, request: HttpRequest) -> Page:
        """Return the numbers of the pipelines as a page."""
        return draw_pipelines(current_engine(), request.GET.dict(), **self.look(request))

    def draw_row(self, request: HttpRequest, object_id: str) -> Page:
        """Return the page of a run."""
        return draw_run(current_engine(), object_id, **self.look(request))

    def preview(self, request: HttpRequest, run_id: str) -> Page:
        """Return the preview of what a form asks for."""
        return draw_preview(current_engine(), run_id, request.GET.dict(), **self.look(request))

    def act(self, request: HttpRequest, run_id: str) -> Acted | Page:
        """Do what a form asks for."""
        return act_on_form(current_engine(), run_id, request.POST.dict(), **self.look(request))


@admin.register(Review)
class ReviewAdmin(PageAdmin):
    """Reviews: those that wait for somebody first, the oldest first of all."""

    list_display = (
        "number",
        "why",
        "run_pipeline",
        "step",
        "opened_at",
        "deadline_at",
        "assignee",
        "decision",
        "decided_by",
    )
    list_filter = (DecidedFilter, "reason", AssigneeFilter)
    list_per_page = 50
    ordering = (F("decided_at").desc(nulls_first=True), "opened_at", "id")

    @admin.display(description="review", ordering="id")
    def number(self, review: Review) -> str:
        """Return its number."""
        return f"#{review.id}"

    @admin.display(description="reason", ordering="reason")
    def why(self, review: Review) -> str:
        """Return its reason in words."""
        return str(review.reason).replace("_", " ")

    @admin.display(description="pipeline")
    def run_pipeline(self, review: Review) -> str:
        """Return the pipeline of its run."""
        return str(review.run.pipeline)

    def get_queryset(self, request: HttpRequest) -> Any:
        """Return reviews with their runs, without what makes them long."""
        found = super().get_queryset(request).select_related("run")
        return found.defer("evidence", "run__plan", "run__input", "run__output")

    def get_urls(self) -> list[Any]:
        """Return the addresses of the pages beside the admin's own."""
        take = transaction.non_atomic_requests(self.admin_site.admin_view(self.take_view))
        return [path("<int:review_id>/take/", take, name="backout_review_take"), *super().get_urls()]

    def take_view(self, request: HttpRequest, review_id: int) -> HttpResponse:
        """Let somebody look after a review."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        return self.answer(request, self.take, review_id)

    def draw_list(self, request: HttpRequest) -> Page:
        """Return the list of reviews as a page."""
        return draw_reviews(current_engine(), request.GET.dict(), **self.look(request))

    def draw_row(self, request: HttpRequest, object_id: str) -> Page:
        """Return the page of a review."""
        number = int(object_id) if object_id.isdecimal() and len(object_id) < 19 else 0
        return draw_review(current_engine(), number, **self.look(request))

    def take(self, request: HttpRequest, review_id: int) -> Acted | Page:
        """Take it, or give it to somebody."""
        return take_review(current_engine(), review_id, request.POST.dict(), **self.look(request))

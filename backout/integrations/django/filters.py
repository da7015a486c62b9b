"""Filters of the admin's lists that ask indexes, and no column of a million rows."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final

from django.contrib import admin
from django.utils import timezone

from backout.identifiers import first_run_id_at
from backout.integrations.django.models import Review
from backout.pipelines.registry import all_pipelines

NOBODY: Final = "nobody"
MINE: Final = "mine"


class PipelineFilter(admin.SimpleListFilter):
    """By pipeline; those that this process defines, because the ledger would have to be read to tell all."""

    title = "pipeline"
    parameter_name = "pipeline"

    def lookups(self, request: Any, model_admin: Any) -> list[tuple[str, str]]:
        """Return the pipelines."""
        names = {*all_pipelines(), *([request.GET[self.parameter_name]] if self.parameter_name in request.GET else [])}
        return [(name, name) for name in sorted(names)]

    def queryset(self, request: Any, queryset: Any) -> Any:
        """Return the runs of the chosen one."""
        return queryset.filter(pipeline=self.value()) if self.value() else queryset


class EnqueuedFilter(admin.SimpleListFilter):
    """By the time of enqueue, which is in the id."""

    title = "enqueued"
    parameter_name = "enqueued"

    def lookups(self, request: Any, model_admin: Any) -> list[tuple[str, str]]:
        """Return the periods, each up to now."""
        return [("today", "Today"), ("7", "Past 7 days"), ("30", "Past 30 days"), ("365", "Past 365 days")]

    def queryset(self, request: Any, queryset: Any) -> Any:
        """Return the runs of the chosen one."""
        since = self._since()
        return queryset.filter(id__gte=first_run_id_at(since)) if since is not None else queryset

    def _since(self) -> datetime | None:
        chosen = self.value()
        now = timezone.localtime(timezone=timezone.get_current_timezone()) if timezone.settings.USE_TZ else None
        today = (now or datetime.now().astimezone()).replace(hour=0, minute=0, second=0, microsecond=0)
        if chosen == "today":
            return today
        return today - timedelta(days=int(chosen)) if chosen in ("7", "30", "365") else None


class DecidedFilter(admin.SimpleListFilter):
    """By whether somebody has decided."""

    title = "decision"
    parameter_name = "decided"

    def lookups(self, request: Any, model_admin: Any) -> list[tuple[str, str]]:
        """Return both."""
        return [("no", "Open"), ("yes", "Decided")]

    def queryset(self, request: Any, queryset: Any) -> Any:
        """Return the reviews of one kind."""
        return queryset.filter(decision__isnull=self.value() == "no") if self.value() else queryset


class AssigneeFilter(admin.SimpleListFilter):
    """By who looks after them."""

    title = "assignee"
    parameter_name = "assignee"

    def lookups(self, request: Any, model_admin: Any) -> list[tuple[str, str]]:
        """Return who looks after open reviews."""
        others = Review.objects.filter(decision=None, assignee__isnull=False).order_by("assignee")
        names = others.values_list("assignee", flat=True).distinct()
        return [(MINE, "Mine"), (NOBODY, "Nobody"), *((name, name) for name in names)]

    def queryset(self, request: Any, queryset: Any) -> Any:
        """Return the reviews of the chosen one."""
        match self.value():
            case None:
                return queryset
            case "nobody":
                return queryset.filter(assignee=None)
            case "mine":
                return queryset.filter(assignee=f"django:{request.user.get_username()}")
            case name:
                return queryset.filter(assignee=name)

"""Pages of runs and reviews in the frame of Django's admin: who looks, what a page is drawn from, and its answer."""

from __future__ import annotations

import hashlib
from typing import Any, Final

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.middleware.csrf import get_token
from django.template.response import TemplateResponse
from django.utils.html import format_html
from django.utils.safestring import mark_safe

from backout.compensations.actions import LONGEST_ACTOR
from backout.errors import BackoutError, ConfigurationError
from backout.integrations.django.configuration import ledger_alias
from backout.integrations.django.fields import DocumentField
from backout.integrations.django.places import AdminPlaces
from backout.ledger.session import LEDGER_ERRORS
from backout.web.acting import LOST_ANSWER
from backout.web.host import Acted, Page, Permission, Viewer
from backout.web.pages import STYLE

PERMISSIONS: Final = {
    Permission.VIEW: "backout.view_run",
    Permission.ACT: "backout.act_run",
    Permission.ACROSS_IRREVERSIBLE: "backout.act_across_irreversible",
}
_MAY_QUOTE: Final = frozenset(("error_summary", "idempotency_key", "exclusive_key", "reason", "note"))
"""Texts in which a value may stand that is masked wherever it is shown."""
STYLE_SECONDS: Final = 365 * 24 * 60 * 60
_VERSION: Final = hashlib.sha256(STYLE.encode()).hexdigest()[:12]


class PageAdmin(admin.ModelAdmin):
    """An admin of rows that nobody writes; each row has a page, and the list of them is the admin's own."""

    actions = None
    show_full_result_count = False
    # Each would be counted for itself, at every look.
    show_facets = admin.ShowFacets.NEVER

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest | None = None) -> bool:
        """Return whether an address may narrow the list by this: not by what is masked, or could be guessed by it."""
        documents = {field.name for field in self.opts.get_fields() if isinstance(field, DocumentField)}
        if lookup.partition("__")[0] in documents | _MAY_QUOTE:
            return False
        return bool(super().lookup_allowed(lookup, value, request))

    def has_view_permission(self, request: HttpRequest, obj: object = None) -> bool:
        """Return whether they may see runs, and with them all that is recorded of them."""
        return bool(request.user.has_perm(PERMISSIONS[Permission.VIEW]))

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Return False: runs are enqueued."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: object = None) -> bool:
        """Return False: runs are acted on, each time with a reason."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: object = None) -> bool:
        """Return False: the ledger is append-only."""
        return False

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Return whether the index shows them."""
        return self.has_view_permission(request)

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """Return the list: the admin's own, or a page where Django cannot read the ledger."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        try:
            is_readable = ledger_alias() is not None
        except ConfigurationError:
            is_readable = False
        if is_readable:
            found: HttpResponse = super().changelist_view(request, extra_context)
            return found
        return self.answer(request, self.draw_list)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """Return the page of a row."""
        return self.answer(request, self.draw_row, object_id)

    def draw_list(self, request: HttpRequest) -> Page:
        """Return the list as a page."""
        raise NotImplementedError

    def draw_row(self, request: HttpRequest, object_id: str) -> Page:
        """Return the page of a row."""
        raise NotImplementedError

    def look(self, request: HttpRequest) -> dict[str, Any]:
        """Return what all pages are drawn with: who looks, and where the other pages are."""
        granted = frozenset(one for one, name in PERMISSIONS.items() if request.user.has_perm(name))
        hidden = format_html('<input type="hidden" name="csrfmiddlewaretoken" value="{}">', get_token(request))
        name = f"django:{request.user.get_username()}"[:LONGEST_ACTOR]
        return {
            "places": self.places(),
            "viewer": Viewer(name=name, permissions=granted, hidden_field=str(hidden)),
        }

    def places(self) -> AdminPlaces:
        """Return where everything is in this admin site."""
        try:
            has_lists = ledger_alias() is not None
        except ConfigurationError:
            has_lists = False
        return AdminPlaces(self.admin_site.name, has_lists)

    def answer(self, request: HttpRequest, draw: Any, *arguments: Any) -> HttpResponse:
        """Return what was drawn or done; somebody who may not see runs gets Django's refusal.

        Args:
            request: of somebody who has logged in.
            draw: returns a page, or what was done.
            arguments: of `draw`, after the request.
        """
        if not self.has_view_permission(request):
            raise PermissionDenied
        try:
            drawn: Page | Acted = draw(request, *arguments)
        except (*LEDGER_ERRORS, ConfigurationError) as error:
            return self.frame(request, _say_away(error, is_known=request.method == "GET"))
        if isinstance(drawn, Page):
            return self.frame(request, drawn)
        messages.success(request, drawn.message)
        return HttpResponseRedirect(self.places().run(drawn.run_id))

    def frame(self, request: HttpRequest, page: Page) -> HttpResponse:
        """Return a page in the frame of the admin."""
        context = {
            **self.admin_site.each_context(request),
            "title": page.title,
            "opts": self.opts,
            # Everything in it was escaped when it was drawn.
            "body": mark_safe(page.body),
            "style_url": self.places().style(_VERSION),
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, "admin/backout/page.html", context, status=page.status)


def serve_style(request: HttpRequest) -> HttpResponse:
    """Return the style sheet; it says nothing that one would have to log in for."""
    headers = {"Cache-Control": f"public, max-age={STYLE_SECONDS}, immutable", "X-Content-Type-Options": "nosniff"}
    return HttpResponse(STYLE, content_type="text/css; charset=utf-8", headers=headers)


def _say_away(error: Exception, *, is_known: bool) -> Page:
    # What a driver says may name hosts and users.
    said = str(error) if isinstance(error, BackoutError) else "The database of the runs has broken off."
    unknown = "" if is_known or isinstance(error, BackoutError) else LOST_ANSWER
    told = format_html('<div class="backout"><p>{}</p><p>{}</p></div>', said, unknown)
    return Page(title="The ledger cannot be used", body=str(told), status=503)

"""What can be done about a run, in groups, each with the way to its preview."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from backout.compensations.next_actions import NextAction
from backout.compensations.requests import Request, RunView, Verb
from backout.views.actions import NOTHING, GroupedActions
from backout.views.look import list_actions
from backout.views.picture import RunPicture
from backout.web.form_reading import write_fields
from backout.web.host import Permission, Places, Viewer
from backout.web.html import Html, element
from backout.web.pieces import add_query, disclose
from backout.web.wording import in_words, name_request


def draw_actions(picture: RunPicture, view: RunView | None, *, places: Places, viewer: Viewer) -> list[Html]:
    """Return what can be done about a run now: safe, only for those who know more, or not and why."""
    if view is None:
        told = "This release cannot read the plan of this run, so it cannot say what is safe. A newer release can."
        return [element("p", told)]
    grouped = GroupedActions.of(view, list_actions(view))
    may_act = viewer.may(Permission.ACT)
    drawn = [] if may_act else [element("p", "You may look, and not act: you lack that permission.", class_="soft")]
    if not grouped.safe and not grouped.unsure:
        drawn.append(element("p", NOTHING))
    for title, tone, sign, actions in (
        ("Safe", "good", "✓", grouped.safe),
        ("Only if you know more than the record does", "warning", "?", grouped.unsure),
    ):
        if actions:
            mark = element("span", sign, class_="sign", aria_hidden="true")
            drawn.append(element("h3", mark, " ", title, class_=f"group tone-{tone}"))
            items = [_draw_action(picture, action, places) if may_act else _draw_alone(action) for action in actions]
            drawn.append(element("ul", items, class_="actions"))
    return [*drawn, *_draw_refused(grouped.refused)]


def _draw_action(picture: RunPicture, action: NextAction, places: Places) -> Html:
    return element("li", _say_action(action), draw_preview_link(picture.run.id, action.request, places))


def draw_preview_link(run_id: str, request: Request, places: Places) -> Html:
    """Return the way to the preview of a request, which changes nothing."""
    # A decision is taken on the page of its review, where the evidence is.
    if request.verb is Verb.RESOLVE and request.review_id is not None:
        url, words = places.review(request.review_id), "Look at the review"
    else:
        url, words = add_query(places.action(run_id), write_fields(request).items()), "Preview"
    # Out of context, as a screen reader lists them, links must differ.
    about = element("span", f": {name_request(request)}", class_="unseen")
    return element("a", words, about, href=url, class_="button")


def _draw_alone(action: NextAction) -> Html:
    return element("li", _say_action(action))


def _say_action(action: NextAction) -> Html:
    name = element("p", name_request(action.request), class_="name")
    return element("div", name, element("p", in_words(action.why)), class_="what")


def _draw_refused(actions: Sequence[NextAction]) -> Iterator[Html]:
    if actions:
        items = [
            element("li", element("strong", name_request(action.request)), f": {in_words(action.why)}")
            for action in actions
        ]
        yield disclose("Not possible now, and why", element("ul", items, class_="refused"))

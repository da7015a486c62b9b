"""How a person acts on a run from a page: see what would be done, agree, and do exactly that; or be told why not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from backout.compensations.actions import LONGEST_ACTOR, ActionDone, act
from backout.compensations.plan import plan_rollback
from backout.compensations.requests import PlannedTask, Request, Verb
from backout.compensations.verbs import assign_review
from backout.errors import ActionRefused, StateChanged, UnknownRun
from backout.pipelines.engine import Engine
from backout.settings import Settings
from backout.views.deeds import say_tasks
from backout.views.entries import say_event
from backout.views.look import Look, look_at, needs_output
from backout.views.marks import RUN_MARKS
from backout.views.picture import RunPicture
from backout.views.words import clean, say_setting
from backout.web.confirm import draw_confirm, draw_consequence, find_refusal
from backout.web.fields import draw_get_form, draw_select, draw_text_area, hide, is_storable
from backout.web.form_reading import Asked, find_reason_problem, read_form
from backout.web.host import Acted, Page, Permission, Places, Viewer
from backout.web.html import Child, Html, element
from backout.web.pieces import draw_time, make_page, notice, refuse_view, section
from backout.web.review_page import find_review, show_review
from backout.web.run_page import draw_story, find_picture, show_missing_run
from backout.web.wording import ACROSS, as_sentence, in_words, lower_first, name_request

__all__ = ["LOST_ANSWER", "Acted", "act_on_form", "draw_preview", "say_after_outage", "take_review"]

LOST_ANSWER = "Whether it was done is not known: look at the run before you ask again."
"""What a host says when the database broke off while something was done."""

_NAMED_TASKS = 3
_LAST_ENTRIES = 3
_ACROSS_DENIED = (
    "You are not permitted to undo what a run did across a step that cannot be undone. Ask somebody who is, or undo "
    "back to that step."
)


def draw_preview(engine: Engine, run_id: str, form: Mapping[str, str], *, places: Places, viewer: Viewer) -> Page:
    """Return what a form's request would do to a run. Changes nothing.

    Args:
        engine: whose ledger it is.
        run_id: of the run.
        form: `verb` and what belongs to it: `step`, `to_step`, `across_irreversible`, `with_rollback`, `review_id`,
            `decision`.
        places: how the host addresses pages.
        viewer: who looks.
    """
    if not viewer.may(Permission.VIEW):
        return refuse_view()
    picture = find_picture(engine, run_id)
    if isinstance(picture, Page):
        return picture
    # What is typed into the form that acts is judged when it is sent.
    asked = replace(read_form(form, longest_output=engine.settings.max_payload_bytes), reason="", output="")
    problems = {name: told for name, told in asked.problems.items() if name != "output"}
    if is_across_denied(asked.request, viewer):
        return show_action(
            engine, picture, asked, notice("Not permitted", _ACROSS_DENIED), places=places, viewer=viewer, status=403
        )
    status = 422 if problems else 200
    return show_action(engine, picture, replace(asked, problems=problems), places=places, viewer=viewer, status=status)


def act_on_form(
    engine: Engine, run_id: str, form: Mapping[str, str], *, places: Places, viewer: Viewer
) -> Acted | Page:
    """Do what a form asks for: one transaction, then the messages.

    Args:
        engine: whose ledger it is.
        run_id: of the run.
        form: as in `draw_preview`, and `reason`, `output` (JSON text) and `expecting` (the version of the preview).
        places: how the host addresses pages.
        viewer: who acts; entries keep their name.

    Returns:
        What was done; or a page, and nothing was done: 403 not permitted, 404 no such run, 409 the run is not what the
        preview showed, 422 refused, or a field that cannot be used. The page has a fresh preview, and what was typed.
    """
    if not viewer.may(Permission.VIEW):
        return refuse_view()
    picture = find_picture(engine, run_id)
    if isinstance(picture, Page):
        return picture
    asked = read_form(form, longest_output=engine.settings.max_payload_bytes)
    denied = _say_denied(asked.request, viewer)
    if denied:
        told = notice("Not permitted: nothing was changed", denied)
        return show_action(engine, picture, asked, told, places=places, viewer=viewer, status=403)
    asked = _find_problems(engine, picture, asked)
    if asked.request is None or asked.problems:
        told = notice("Nothing was changed", *_say_problems(asked))
        return show_action(engine, picture, asked, told, places=places, viewer=viewer, status=422)
    return _act(engine, picture, asked, asked.request, places=places, viewer=viewer)


def take_review(
    engine: Engine, review_id: int, form: Mapping[str, str], *, places: Places, viewer: Viewer
) -> Acted | Page:
    """Say who looks after a review: `assignee` (without it: who asks) instead of `from_assignee`. Changes nothing else.

    Returns:
        What was done; or a page, and nothing was done: 403, 404, 409 somebody else has taken it, 422 it is decided, or
        a name that cannot be used.
    """
    if not (viewer.may(Permission.VIEW) and viewer.may(Permission.ACT)):
        told = notice("Not permitted: nothing was changed", "You may look, and not take reviews.")
        return show_review(engine, review_id, told, places=places, viewer=viewer, status=403)
    review = find_review(engine, review_id)
    if review is None:
        return show_review(engine, review_id, places=places, viewer=viewer)
    assignee = form.get("assignee", "").strip() or viewer.name
    reason = form.get("reason", "").strip() or ("taken" if assignee == viewer.name else "assigned")
    before = form.get("from_assignee", "").strip() or None
    problem = find_reason_problem(reason)
    if len(assignee) > LONGEST_ACTOR or not is_storable(assignee):
        problem = f"A name has 1 to {LONGEST_ACTOR} characters that can be recorded."
    if problem or not is_storable(before or ""):
        told = notice("Nothing was changed", problem)
        return show_review(engine, review_id, told, places=places, viewer=viewer, status=422)
    who = "You look" if assignee == viewer.name else f"{clean(assignee)} looks"
    done = Acted(run_id=review.run_id, message=f"{who} after review {review_id} now.")
    if review.decision is None and review.assignee == assignee != before:
        # A second click: what was asked for is so already.
        return done
    try:
        assign_review(review_id, assignee, actor=viewer.name, reason=reason, from_assignee=before, engine=engine)
    except ActionRefused as error:
        told = notice("Nothing was changed", as_sentence(in_words(error.why)), in_words(error.remedy))
        return show_review(engine, review_id, told, places=places, viewer=viewer, status=422)
    except StateChanged:
        told = notice("Somebody was faster: nothing was changed", "Below is who looks after it now.")
        return show_review(engine, review_id, told, places=places, viewer=viewer, status=409)
    return done


def say_after_outage(method: str) -> str:
    """Return what to do now that the database does not answer.

    Args:
        method: of the request; only a GET has certainly changed nothing.
    """
    return "Nothing was changed; try again." if method == "GET" else LOST_ANSWER


def is_across_denied(request: Request | None, viewer: Viewer) -> bool:
    """Return whether a request crosses a step that cannot be undone, and this person may not (R7)."""
    is_across = request is not None and request.across_irreversible is not None
    return is_across and not viewer.may(Permission.ACROSS_IRREVERSIBLE)


def _say_denied(request: Request | None, viewer: Viewer) -> str:
    if not viewer.may(Permission.ACT):
        return "You may look, and not act. Ask whoever gives permissions here."
    return _ACROSS_DENIED if is_across_denied(request, viewer) else ""


def _find_problems(engine: Engine, picture: RunPicture, asked: Asked) -> Asked:
    problems = dict(asked.problems)
    reason = find_reason_problem(asked.reason)
    if reason:
        problems["reason"] = reason
    if asked.request is None or picture.plan is None:
        return replace(asked, problems=problems)
    look = look_at(engine, picture.run.id, asked.request)
    if find_refusal(look, asked.request) is not None:
        # What cannot be done at all has no such fields to be mended; the refusal says what to do instead.
        problems = {name: told for name, told in problems.items() if name not in ("reason", "output")}
    elif needs_output(look.view, asked.request) and not asked.has_output and "output" not in problems:
        problems["output"] = "Say what the step would have returned, as JSON; if it returns nothing: null."
    if not asked.expecting:
        problems["expecting"] = "Look at what would be done first: it is shown below."
    return replace(asked, problems=problems)


def _say_problems(asked: Asked) -> list[str]:
    """Return the problems that have no field of their own to stand at, or a sentence that leads to the fields."""
    elsewhere = [told for name, told in asked.problems.items() if name not in ("reason", "output")]
    return elsewhere or ["Something is missing, or cannot be used: see the field below."]


def _act(
    engine: Engine, picture: RunPicture, asked: Asked, request: Request, *, places: Places, viewer: Viewer
) -> Acted | Page:
    if picture.plan is None:
        return show_action(engine, picture, asked, places=places, viewer=viewer, status=422)
    run_id = picture.run.id
    try:
        done = act(
            run_id,
            request,
            actor=viewer.name,
            reason=asked.reason.strip(),
            expecting=asked.expecting,
            engine=engine,
        )
    except UnknownRun:
        return show_missing_run(run_id)
    except ActionRefused as error:
        if needs_output(look_at(engine, run_id, request).view, request):
            asked = replace(asked, problems={"output": as_sentence(in_words(error.why))})
        told = notice("Refused: nothing was changed", as_sentence(in_words(error.why)), in_words(error.remedy))
        return show_action(engine, picture, asked, told, places=places, viewer=viewer, status=422)
    except StateChanged as error:
        found = find_picture(engine, run_id)
        fresh = picture if isinstance(found, Page) else found
        told = notice("The run has changed meanwhile: nothing was changed", *_say_change(fresh, error, viewer))
        return show_action(engine, fresh, asked, told, places=places, viewer=viewer, status=409)
    return Acted(run_id=run_id, message=_say_done(done, request, engine.settings))


def _say_change(picture: RunPicture, error: StateChanged, viewer: Viewer) -> Iterator[Child]:
    yield f"You decided on {clean(error.expected)}; the run is now {clean(error.found)}. What happened last:"
    last = picture.entries[-_LAST_ENTRIES:]
    items = [
        element("li", draw_time(entry.at), f": {say_event(entry)}, by ", element("strong", entry.actor))
        for entry in last
    ]
    yield element("ul", items, class_="plain")
    if last and last[-1].actor == viewer.name:
        yield "That was you: if you sent the form twice, it was done the first time."


def _say_done(done: ActionDone, request: Request, settings: Settings) -> str:
    said = f"Done: {lower_first(name_request(request))}. The run is {RUN_MARKS[done.state].word}"
    if not done.tasks:
        return f"{said}."
    next_tasks = f"{said}; next, as soon as a worker takes it up: {_say_some(done.tasks)}."
    if done.is_sent:
        return next_tasks
    within_seconds = max(settings.resend_seconds, settings.sweep_interval_seconds)
    return f"{next_tasks} The broker did not take the message; it is sent within about {say_setting(within_seconds)}."


def _say_some(tasks: Sequence[PlannedTask]) -> str:
    more = len(tasks) - _NAMED_TASKS
    return say_tasks(tasks[:_NAMED_TASKS]) + (f", and {more} more" if more > 0 else "")


def show_action(
    engine: Engine,
    picture: RunPicture,
    asked: Asked,
    *notices: Html,
    places: Places,
    viewer: Viewer,
    status: int = 200,
) -> Page:
    """Return the preview of a request under messages about what was just asked for, with what was typed."""
    back = element("p", element("a", "Back to the run", href=places.run(picture.run.id)))
    request = asked.request
    if picture.plan is None:
        told = "This release cannot read the plan of this run, so it cannot say what would happen. A newer release can."
        return make_page("Preview", notices, draw_story(picture), element("p", told), back, status=422)
    if request is None:
        told = "It is not said what should be done. The page of the run lists what can be done."
        return make_page("Preview", notices, draw_story(picture), element("p", told), back, status=422)
    look = look_at(engine, picture.run.id, request)
    parts = _draw_preview(look, request, asked, places=places, viewer=viewer)
    return make_page(f"Preview: {name_request(request)}", notices, draw_story(picture), *parts, status=status)


def _draw_preview(look: Look, request: Request, asked: Asked, *, places: Places, viewer: Viewer) -> Iterator[Html]:
    yield section("What would happen", draw_consequence(look, request))
    if request.verb is Verb.ROLLBACK:
        yield section("How much is undone", _draw_rollback_form(look, request, asked, places=places, viewer=viewer))
    denied = is_across_denied(request, viewer)
    form = None if denied else draw_confirm(look, request, asked, places=places, viewer=viewer)
    if form is not None:
        yield section("Do it", form)
        return
    if find_refusal(look, request) is None and not denied:
        yield element("p", "You may look, and not act: you lack that permission.", class_="soft")
    yield element("p", element("a", "Back to the run", href=places.run(look.view.run.id)))


def _draw_rollback_form(look: Look, request: Request, asked: Asked, *, places: Places, viewer: Viewer) -> Html:
    names = [step.name for step in look.view.plan.steps]
    options = [("", "everything"), *((name, f"back to {name}, which stays") for name in names)]
    fields: list[Child] = [
        hide({"verb": Verb.ROLLBACK.value}),
        draw_select(
            "to_step", "Undo", options, chosen=request.to_step or "", problem=asked.problems.get("to_step", "")
        ),
    ]
    if viewer.may(Permission.ACROSS_IRREVERSIBLE) and _is_across(look, request):
        area = draw_text_area(
            "across_irreversible",
            ACROSS,
            value=request.across_irreversible or "",
            hint="Such a step has happened, or may have, and stays. Say why the others may be undone all the same.",
            problem=asked.problems.get("across_irreversible", ""),
            is_required=False,
        )
        fields.append(area)
    button = element("button", "Preview again", type="submit")
    url = places.action(look.view.run.id)
    return draw_get_form(url, *fields, button, kind="again", label="How much is undone")


def _is_across(look: Look, request: Request) -> bool:
    """Return whether there is a step that cannot be undone in the way of a rollback."""
    names = [step.name for step in look.view.plan.steps]
    to_position = names.index(request.to_step) if request.to_step in names else None
    return plan_rollback(look.view.plan, look.view.steps, to_position=to_position).blocked_by is not None

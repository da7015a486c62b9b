"""What an action would do, and the form with which a person agrees to exactly that."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from backout.compensations.actions import LONGEST_REASON
from backout.compensations.intents import decide
from backout.compensations.requests import PlannedTask, Refusal, Request
from backout.views.deeds import TASK_WORDS, say_given
from backout.views.look import Look, needs_output
from backout.views.marks import RUN_MARKS
from backout.web.fields import draw_post_form, draw_text_area, hide
from backout.web.form_reading import Asked, write_fields
from backout.web.host import Permission, Places, Viewer
from backout.web.html import Child, Html, break_name, element
from backout.web.pieces import draw_facts, draw_mark
from backout.web.wording import as_sentence, in_words, name_request

OUTPUT_HINT = "As JSON, because later steps and its undo are given it. If it returns nothing: null."


def find_refusal(look: Look, request: Request) -> Refusal | None:
    """Return why a request would be refused whatever output is given with it; `None`: it would be done."""
    if needs_output(look.view, request):
        decided = decide(look.view, request)
        return decided if isinstance(decided, Refusal) else None
    return look.preview.refusal


def draw_consequence(look: Look, request: Request) -> list[Html]:
    """Return what would be done: where it leads, the tasks in order, what to know, and what is not certain."""
    refusal = find_refusal(look, request)
    now = draw_mark(RUN_MARKS[look.preview.state])
    if refusal is not None:
        sign = element("span", "✗", class_="sign", aria_hidden="true")
        why = element("p", sign, " ", element("strong", "Not possible now: "), as_sentence(in_words(refusal.why)))
        return [element("div", why, element("p", in_words(refusal.remedy)), class_="panel")]
    if look.preview.refusal is not None:
        # Only the output is missing, which the person is about to give.
        return [element("p", "The output that you give is recorded as its own, and the run goes on.")]
    leads_to = look.preview.leads_to
    end: list[Child] = [" and stays so."]
    if leads_to is not None and leads_to is not look.preview.state:
        end = [", and would be ", draw_mark(RUN_MARKS[leads_to]), "."]
    notes = [note for note in look.preview.notes if note not in look.warning]
    listed = [element("ul", [element("li", in_words(note)) for note in notes], class_="plain")] if notes else []
    return [element("p", "The run is ", now, *end), *_draw_tasks(look.preview.tasks), *listed, *_draw_warning(look)]


def draw_confirm(
    look: Look, request: Request, asked: Asked | None, *, places: Places, viewer: Viewer, owner: str = ""
) -> Html | None:
    """Return the form that does what was previewed; `None`: it cannot be done, or not by this person.

    Args:
        look: what would be done; the form asks for that, and no more than that (R13).
        request: what is asked for.
        asked: what was typed before, with its problems.
        places: how the host addresses pages.
        viewer: who looks.
        owner: what tells the form from others of the same page.
    """
    if find_refusal(look, request) is not None or not viewer.may(Permission.ACT):
        return None
    problems = asked.problems if asked is not None else {}
    fields: list[Html] = []
    if needs_output(look.view, request):
        fields.append(
            draw_text_area(
                "output",
                "What the step would have returned",
                value=asked.output if asked is not None else "",
                hint=OUTPUT_HINT,
                problem=problems.get("output", ""),
                kind="json",
                owner=owner,
            )
        )
    fields.append(
        draw_text_area(
            "reason",
            "Why",
            value=asked.reason if asked is not None else "",
            hint=f"Kept in the record, with your name ({viewer.name}), for whoever reads it later.",
            problem=problems.get("reason", ""),
            longest=LONGEST_REASON,
            owner=owner,
        )
    )
    kept = hide({**write_fields(request), "expecting": look.preview.version})
    button = element("button", name_request(request), type="submit", class_="careful" if look.warning else "main")
    back = element("a", "Back to the run", href=places.run(look.view.run.id))
    end = element("div", button, " ", back, class_="row")
    url = places.action(look.view.run.id)
    return draw_post_form(url, viewer, kept, fields, end, label=name_request(request))


def _draw_tasks(tasks: Sequence[PlannedTask]) -> Iterator[Html]:
    if not tasks:
        yield element("p", "No task would run.")
        return
    yield element("p", "It would run, in this order:" if len(tasks) > 1 else "It would run:")
    yield element("ol", [_draw_task(task) for task in tasks], class_="tasks")


def _draw_task(task: PlannedTask) -> Html:
    action = f": {task.action}" if task.action else ""
    name = element("strong", break_name(task.step))
    given = [(key.replace("_", " ").capitalize(), say_given(value)) for key, value in task.given.items()]
    missing = [element("p", f"without {one}", class_="tone-back") for one in task.missing]
    return element(
        "li",
        element("p", f"{TASK_WORDS[task.kind]} ", name, action),
        draw_facts([("Task", element("code", task.name or "(none is defined)")), *given]),
        missing,
    )


def _draw_warning(look: Look) -> Iterator[Html]:
    if look.warning:
        sign = element("span", "!", class_="sign", aria_hidden="true")
        title = element("p", sign, " ", element("strong", "Careful: something may be done twice or be lost."))
        yield element("div", title, element("p", in_words(look.warning)), class_="panel careful")

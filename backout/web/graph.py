"""The pipeline of a run as boxes from left to right, which wrap where the page ends; under each what takes it back."""

from __future__ import annotations

from backout.views.graph import Box, Graph
from backout.views.marks import Tone
from backout.web.html import Html, break_name, element
from backout.web.pieces import draw_mark


def draw_graph(graph: Graph) -> list[Html]:
    """Return the boxes as a list: its order is that of the arrows, and without the style sheet it is one."""
    nodes = [element("li", _draw_box(box), _draw_undo(box)) for box in graph.boxes]
    drawn = element("ol", nodes, class_="flow", aria_label="The steps of the pipeline, each with its undo")
    return [drawn, *([element("p", graph.left_out, class_="soft")] if graph.left_out else [])]


def _draw_box(box: Box) -> Html:
    place = element("div", f"{box.number} · {box.effect.value}", class_="soft")
    name = element("div", break_name(box.name), class_="name")
    kind = f"box tone-{box.mark.tone.value}" if box.has_begun else "box later"
    return element("div", place, name, element("div", draw_mark(box.mark)), class_=kind)


def _draw_undo(box: Box) -> Html:
    undo = box.undo
    words = element("div", undo.words, class_="words", title=undo.words)
    mark = element("div", draw_mark(undo.mark)) if undo.mark is not None else None
    kinds = ["undo", undo.kind.value]
    if undo.mark is not None and undo.mark.tone is not Tone.PLAIN:
        kinds.append(f"tone-{undo.mark.tone.value}")
    if box.leads_back:
        kinds.append("next")
    return element("div", words, mark, class_=" ".join(kinds))

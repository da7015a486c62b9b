"""The writer of HTML and the style sheet: nothing that anybody writes becomes a part of the page's structure."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from backout.views.marks import Tone
from backout.views.words import clean_line
from backout.web.html import break_name, element, escape_text, join
from backout.web.style import STYLE

NASTY = '</p><script>alert(\'1\')</script>" onclick="x" <!-- &lt; ]]> \u202e\x1b[2J\x00'


class Seen(HTMLParser):
    """What a browser would make of it."""

    def __init__(self, markup: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, list[tuple[str, str | None]]]] = []
        self.text = ""
        self.feed(markup)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, attrs))

    def handle_data(self, data: str) -> None:
        self.text += data


@given(st.text(), st.text())
@example(NASTY, NASTY)
def test_any_text_comes_out_as_the_text_that_it_was(text: str, value: str) -> None:
    """As content and as attribute; what would steer the reader shows as its code."""
    shown = "\n".join(map(clean_line, text.split("\n")))
    seen = Seen(element("p", text, element("b", [text, None]), title=value, hidden=False, data_b=True).markup)
    assert [tag for tag, _ in seen.tags] == ["p", "b"]
    expected = "\n".join(map(clean_line, value.split("\n")))
    assert seen.tags[0][1] == [("title", expected), ("data-b", None)]
    assert seen.text == shown * 2


@given(st.text(st.characters(exclude_characters="\x00\r")))
@example(NASTY.replace("\x00", "") + "\t\u200d")
def test_what_was_typed_comes_back_as_it_was(typed: str) -> None:
    """The text of a field is sent once more: what it shows must be what was typed, tabs and joiners included."""
    area = Seen(element("textarea", typed, name="reason").markup)
    assert area.text == typed
    hidden = Seen(element("input", type="hidden", name="reason", value=typed).markup)
    assert dict(hidden.tags[0][1])["value"] == typed


@given(st.text(min_size=1))
@example(NASTY)
def test_name_that_may_break_is_still_the_same_name(text: str) -> None:
    """Nothing is added but places where a line may break."""
    seen = Seen(break_name(text).markup)
    assert {tag for tag, _ in seen.tags} <= {"wbr"}
    assert seen.text == Seen(escape_text(text)).text


@pytest.mark.parametrize("name", ["script", "style", "iframe", "p onclick=x", "P", "", "img/src"])
def test_element_that_could_run_or_load_something_is_refused(name: str) -> None:
    """A defect of a page is found by its first test, not by its first visitor."""
    with pytest.raises(ValueError, match="no page has an element"):
        element(name)


@pytest.mark.parametrize("name", ["onclick", "on_load", "style"])
def test_attribute_that_sites_forbid_is_refused(name: str) -> None:
    """Their policy would block it anyway."""
    with pytest.raises(ValueError, match="no page has an attribute"):
        element("p", **{name: "x"})


def test_pieces_are_joined_as_they_are() -> None:
    """An element is not escaped a second time, and nothing stands for nothing."""
    assert join("a & ", [element("b", "c"), None], None).markup == "a &amp; <b>c</b>"
    assert element("br").markup == "<br>"


def test_every_rule_of_the_style_sheet_stays_under_its_class() -> None:
    """The pages do not disturb the site around them."""
    bare = re.sub(r"/\*.*?\*/", "", STYLE, flags=re.S)
    selectors = [found.strip() for found in re.findall(r"([^{};]+)\{", bare) if not found.strip().startswith("@media")]
    assert len(selectors) > 50
    for selector in selectors:
        for one in selector.split(","):
            assert re.match(r"(:root\[data-theme=\w+\] )?\.backout\b", one.strip()), selector
    assert bare.count("{") == bare.count("}")
    assert "url(" not in STYLE
    assert "@import" not in STYLE


def test_every_tone_has_its_look() -> None:
    """One that is added later is not forgotten."""
    assert {tone for tone in Tone if f".tone-{tone.value}" not in STYLE} == {Tone.PLAIN}


@pytest.mark.parametrize("which", [0, 1], ids=["light", "dark"])
def test_text_can_be_read_on_its_ground(which: int) -> None:
    """4.5 to 1 at least, in both schemes. Source: WCAG 2.2, 1.4.3."""
    schemes = [dict(re.findall(r"--b-([\w-]+): (#[0-9a-f]+);", block)) for block in re.findall(r"\{([^{}]*)\}", STYLE)]
    colours = [scheme for scheme in schemes if len(scheme) > 10][which]
    inks = ("ink", "soft", "blue", "green", "amber", "red", "violet")
    pairs = [(ink, ground) for ink in inks for ground in ("page", "sheet", "head")]
    pairs += [("ink", f"{name}-fill") for name in ("blue", "amber", "red", "violet", "grey")]
    pairs += [("soft", "violet-fill"), ("button-ink", "button"), ("sheet", "red")]
    found = {pair: contrast(colours[pair[0]], colours[pair[1]]) for pair in pairs}
    assert {pair: ratio for pair, ratio in found.items() if ratio < 4.5} == {}


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(colour: str) -> float:
    digits = colour[1:] if len(colour) == 7 else "".join(digit * 2 for digit in colour[1:])
    parts = [int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

"""Pages as a host would ask for them, and a reader that is stricter than browsers are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Final
from urllib.parse import parse_qsl, urlencode, urlsplit

from backout.web.host import Page, Permission, Viewer

VOID: Final = frozenset({"br", "input", "wbr"})
TOKEN: Final = '<input type="hidden" name="csrf" value="tok">'
EVERYTHING: Final = frozenset(Permission)


def viewer(*permissions: Permission, name: str = "django:alice") -> Viewer:
    """Return somebody with these permissions; with all, when none is named."""
    return Viewer(name=name, permissions=frozenset(permissions) or EVERYTHING, hidden_field=TOKEN)


@dataclass(frozen=True, slots=True)
class Paths:
    """A host whose addresses already have a query, as some do.

    Attributes:
        tasks: the Celery tasks of which it has a page.
    """

    tasks: frozenset[str] = frozenset()

    def runs(self, query: Mapping[str, str]) -> str:
        return f"/runs?{urlencode({'site': '1', **query})}"

    def run(self, run_id: str) -> str:
        return f"/runs/{run_id}"

    def action(self, run_id: str) -> str:
        return f"/runs/{run_id}/act?site=1"

    def reviews(self, query: Mapping[str, str]) -> str:
        return f"/reviews?{urlencode(query)}"

    def review(self, review_id: int) -> str:
        return f"/reviews/{review_id}"

    def pipelines(self, query: Mapping[str, str]) -> str:
        return f"/pipelines?{urlencode(query)}"

    def assignment(self, review_id: int) -> str:
        return f"/reviews/{review_id}/take"

    def task(self, task_id: str) -> str | None:
        return f"/tasks/{task_id}" if task_id in self.tasks else None


PLACES: Final = Paths()


@dataclass(kw_only=True)
class Form:
    """A form of a page.

    Attributes:
        fields: name to what a browser would send if nothing was typed.
    """

    method: str
    action: str
    fields: dict[str, str] = field(default_factory=dict)


@dataclass(kw_only=True)
class Read:
    """What a page says to whoever reads it.

    Attributes:
        text: all that is shown, with single blanks.
        links: words to address, each once.
        attributes: all that are there, as (element, name, value).
    """

    text: str
    forms: list[Form]
    links: dict[str, str]
    attributes: list[tuple[str, str, str | None]]
    ids: list[str]

    def post_form(self, verb: str = "") -> Form:
        """Return the form that posts; of several the one whose fields have this value somewhere."""
        [found] = [one for one in self.forms if one.method == "post" and (not verb or verb in one.fields.values())]
        return found


class _Reader(HTMLParser):
    """Fails on what is not closed, closed twice, or written in a way that only browsers forgive."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.words: list[str] = []
        self.forms: list[Form] = []
        self.links: dict[str, str] = {}
        self.attributes: list[tuple[str, str, str | None]] = []
        self.link: tuple[str, int] | None = None
        self.area: tuple[str, int] | None = None
        self.select = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        assert len(given) == len(attrs), f"an attribute of {tag} is there twice"
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)
        form = self.forms[-1] if self.forms and "form" in self.open else None
        match tag:
            case "form":
                assert self.open.count("form") == 1, "a form inside a form"
                self.forms.append(Form(method=given["method"] or "", action=given["action"] or ""))
            case "input" if form is not None:
                if given.get("type") != "checkbox" or "checked" in given:
                    form.fields[given["name"] or ""] = given.get("value") or ""
            case "select":
                self.select = given["name"] or ""
            case "option" if (
                form is not None and self.select and ("selected" in given or self.select not in form.fields)
            ):
                form.fields[self.select] = given["value"] or ""
            case "textarea":
                self.area = (given["name"] or "", len(self.words))
            case "a":
                self.link = (given["href"] or "", len(self.words))
            case _:
                pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open[-1] == tag, f"</{tag}> closes <{self.open[-1]}>"
        self.open.pop()
        if tag == "a" and self.link is not None:
            self.links.setdefault(" ".join("".join(self.words[self.link[1] :]).split()), self.link[0])
        if tag == "textarea" and self.area is not None:
            self.forms[-1].fields[self.area[0]] = "".join(self.words[self.area[1] :]).removeprefix("\n")
        if tag == "select":
            self.select = ""

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def handle_comment(self, data: str) -> None:
        raise AssertionError(f"a comment: {data}")

    def handle_decl(self, decl: str) -> None:
        raise AssertionError(f"a declaration: {decl}")

    def handle_pi(self, data: str) -> None:
        raise AssertionError(f"an instruction: {data}")


def read(page: Page) -> Read:
    """Read a page, and fail where it is not well-formed, could run something, or is hard to use without eyes."""
    assert page.body.startswith('<div class="backout">')
    reader = _Reader()
    reader.feed(page.body)
    reader.close()
    assert reader.open == [], f"not closed: {reader.open}"
    names = {name for _, name, _ in reader.attributes}
    assert not {name for name in names if name.startswith("on") or name == "style"}
    ids = [value or "" for _, name, value in reader.attributes if name == "id"]
    assert len(ids) == len(set(ids)), f"an id is there twice: {ids}"
    for _, name, value in reader.attributes:
        if name in ("for", "aria-describedby", "list"):
            assert set((value or "").split()) <= set(ids), f"{name} names what is not there: {value}"
    check_addresses(reader)
    text = " ".join("".join(reader.words).split())
    return Read(text=text, forms=reader.forms, links=reader.links, attributes=reader.attributes, ids=ids)


def check_addresses(reader: _Reader) -> None:
    """Fail where a page leads somewhere that the host has not said, or posts without its field."""
    for _, name, value in reader.attributes:
        if name in ("href", "action", "src"):
            assert urlsplit(value or "").scheme == "", value
            assert (value or "").startswith(("/runs", "/reviews", "/pipelines", "/tasks")), value
    for form in reader.forms:
        assert (form.fields.get("csrf") == "tok") is (form.method == "post"), form


def query_of(url: str) -> dict[str, str]:
    """Return the query of an address, as a host would decode it."""
    return dict(parse_qsl(urlsplit(url).query, keep_blank_values=True))

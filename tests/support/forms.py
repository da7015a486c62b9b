"""What a browser would do with a whole page: follow its links, send its forms."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser


@dataclass(kw_only=True)
class Form:
    """A form of a page, with what a browser would send if nothing was typed."""

    method: str
    action: str
    fields: dict[str, str] = field(default_factory=dict)


class Reader(HTMLParser):
    """The links and forms of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self.links: list[str] = []
        self._select = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        match tag:
            case "a" | "link":
                self.links.append(given.get("href", ""))
            case "form":
                self.forms.append(Form(method=given["method"], action=given["action"]))
            case "input" if (self.forms and given.get("type") not in ("checkbox", "radio")) or "checked" in given:
                self.forms[-1].fields[given["name"]] = given.get("value", "")
            case "textarea":
                self.forms[-1].fields[given["name"]] = ""
            case "select":
                self._select = given["name"]
            case "option" if "selected" in given or self._select not in self.forms[-1].fields:
                self.forms[-1].fields[self._select] = given.get("value", "")
            case _:
                pass

    @property
    def post(self) -> Form:
        """The first form that changes something."""
        return next(form for form in self.forms if form.method == "post")

"""One contract in five formats: each says everything, and no text of a user's breaks out of its place."""

import json
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any, Final

import pytest

from backout.cli.render.contract_html import draw_html
from backout.cli.render.contract_markdown import draw_markdown
from backout.cli.render.contract_mermaid import draw_mermaid, escape_label
from backout.cli.render.contract_table import draw_contract
from backout.pipelines.contract import (
    Effect,
    OnCompensationFailure,
    OnFailure,
    Plan,
    RecoveryKind,
    StepContract,
)
from backout.pipelines.warnings import find_warnings
from backout.views.contract_words import mark_code, plain, split_code, tell_contract
from backout.views.shapes import shape_contract
from tests.support.pictures import printed
from tests.support.runs import contract, question, retry_rule, undoing

FULL: Final = Plan(
    pipeline="fulfil_order",
    steps=(
        contract("check_address", effect=Effect.READ, recovery=RecoveryKind.NOTHING_TO_UNDO, idempotent=True),
        contract("reserve_stock", idempotent=True, has_own_key=True, **undoing("release the stock")),
        contract(
            "charge_card",
            **undoing("refund the charge", on_failure=OnCompensationFailure.CONTINUE, options={"queue": "refunds"}),
            reconcile=question("shop.pipelines.find_charge"),
            retry=retry_rule(6, delay_seconds=2.0, max_delay_seconds=60.0, on=("builtins.ConnectionError",)),
            timeout_seconds=30.0,
            options={"queue": "payments", "priority": 7},
            done="card_charged",
            sensitive=("card.token", "receipt"),
        ),
        contract("book_courier", on_failure=OnFailure.PARK, ack_early=True),
        contract(
            "publish_page",
            effect=Effect.PUBLISH,
            recovery=RecoveryKind.IRREVERSIBLE,
            recovery_reason="search engines have seen it",
            verify=question("shop.pipelines.is_live"),
            on_failure=OnFailure.REVIEW,
        ),
        contract("send_invoice", **undoing("cancel the invoice", idempotent=False)),
        contract("send_receipt", effect=Effect.NOTIFY, on_failure=OnFailure.CONTINUE, sensitive=("*",)),
    ),
    sensitive=("card_number",),
    deadline_seconds=7_200.0,
    review_within_seconds=14_400.0,
    customer_messages={"in_review": "A colleague is looking at it."},
)
NASTY: Final = (
    "a | b",
    "<script>alert(1)</script>",
    "&amp; \"quoted\" 'single' `tick`",
    "one\ntwo\r\nthree",
    "Grüße, 日本語 ✓",
    "1. no list",
    "- none either",
    "%%{init: {}}%%",
    "]]></style>--> end",
    "#35; &#35; \\| \\",
    "*bold* _it_ ~~x~~ [a](javascript:b) ![c](d)",
    "\x1b[2J\u202e",
    "```",
    "\x02code\x03",
)


def render(plan: Plan) -> dict[str, str]:
    warnings = find_warnings(plan)
    words = tell_contract(plan, warnings)
    return {
        "table": printed(draw_contract(words, warnings), 100),
        "markdown": draw_markdown(words),
        "mermaid": draw_mermaid(words),
        "json": json.dumps(shape_contract(plan, warnings, words)),
        "html": draw_html(words),
    }


def nasty_plan(text: str) -> Plan:
    """Return a plan whose every text is the same."""
    steps: list[StepContract] = [
        contract(
            text,
            task=text,
            recovery_reason=text,
            options={"queue": text},
            reconcile=question(text),
            sensitive=(text,),
        ),
        contract(f"{text} undone", **undoing(text, task=text), effect=Effect.NOTIFY),
        contract(f"{text} never", recovery=RecoveryKind.IRREVERSIBLE, recovery_reason=text),
        contract(f"{text} after", retry=retry_rule(2, on=(text,))),
    ]
    return Plan(pipeline=text, steps=tuple(steps), customer_messages={text: text}, sensitive=(text,))


class Page(HTMLParser):
    """What a browser would make of a page: its elements in order, whether they are balanced, and its text."""

    VOID: Final = frozenset({"meta", "wbr", "br", "link", "img"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: Counter[str] = Counter()
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += attrs
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.text += data


# every format says everything


@pytest.mark.parametrize("name", ["table", "markdown", "json", "html"])
def test_each_format_says_everything(name: str) -> None:
    """Whoever has one of them need not look for another."""
    written = render(FULL)[name]
    shown = Page(written).text if name == "html" else written.replace("`", "").replace('\\"', '"')
    flat = " ".join(shown.split())
    for fact in (
        "refund the charge",
        "stays: it does no harm",
        "cannot be undone: search engines have seen it",
        "nothing to undo",
        "{run_id}:charge_card",
        "made from the input",
        "yes: again under the same key has no second effect",
        "6 retries, 2 s doubling to 1 min, only on ConnectionError; timeout 30 s each",
        "rollback: what was done is undone",
        "park: what was done stays",
        "continue: the failure is recorded",
        "review: a person decides",
        "publish_page cannot be undone, so nothing is rolled back",
        "halt: the rollback stops",
        "continue: the rollback goes on",
        "runs again under the same key",
        "find_charge is asked: it happened",
        "a person is asked: nobody else can tell",
        "shop.pipelines.is_live",
        "done card_charged, pending charge_card_pending, failed charge_card_failed",
        "reserve_stock_done_charge_card_pending",
        "payments, priority 7",
        "refunds",
        "when it starts",
        "Deadline 2 h after the enqueue",
        "decided within 4 h",
        "Shown masked, of the input: card_number.",
        "card.token, receipt",
        "everything",
        "A colleague is looking at it.",
        "an attempt that is cut off in the middle will ask a person",
    ):
        assert fact in flat, fact


@pytest.mark.parametrize("width", [60, 100, 160])
def test_table_fits_the_terminal(width: int) -> None:
    """Nothing is cut off at the edge."""
    warnings = find_warnings(FULL)
    shown = printed(draw_contract(tell_contract(FULL, warnings), warnings), width)
    assert max(map(len, shown.splitlines())) <= width
    assert "…" not in shown.replace("(…)", "").replace(", …", "")


def test_contract_without_deadline_and_warnings_says_so() -> None:
    """Silence could mean anything."""
    quiet = Plan(pipeline="quiet", steps=(contract("look", idempotent=True),), review_within_seconds=None)
    written = render(quiet)
    assert "No deadline: a run may take as long as it needs." in written["markdown"]
    assert "No deadline for what a person is asked." in written["markdown"]
    assert "## Warnings\n\nNone." in written["markdown"]
    assert "no warnings" in written["table"]
    assert "What a customer is told" not in written["html"]


def test_json_has_a_stable_shape() -> None:
    """The contracts as `check --json` writes them, and the words beside them."""
    document = json.loads(render(FULL)["json"])
    assert list(document) == [
        "name",
        "digest",
        "deadline_seconds",
        "review_within_seconds",
        "customer_messages",
        "sensitive",
        "steps",
        "warnings",
        "facts",
    ]
    read, _, charge, *_ = document["steps"]
    assert read["in_words"]["undo"] is None
    assert charge["timeout_seconds"] == 30.0
    assert list(charge["in_words"]["step"]) == [
        "task",
        "effect",
        "recovery_action",
        "idempotency_key",
        "idempotent",
        "attempts",
        "if_it_fails_for_good",
        "if_it_is_cut_off",
        "reconcile",
        "words",
        "operator_sees",
        "shown_masked",
        "queue",
    ]
    assert charge["in_words"]["undo"]["queue"] == "`refunds`"


# mermaid

LABEL: Final = r'"[^"\n`<>]*(?:<br/>[^"\n`<>]*)?"'
NODE: Final = rf"\w+(?:\[{LABEL}\]|\(\[{LABEL}\]\)|\{{\{{{LABEL}\}}\}}|\[/{LABEL}/\]):::\w+"
ARROW: Final = rf"(?:==>|---|-\.->|-- {LABEL} -->|-\. {LABEL} \.->)"
LINE: Final = rf"flowchart TD|accTitle: [^\n]+|{NODE}|\w+(?: {ARROW} \w+)+|classDef \w+ [\w:#,. -]+"


@pytest.mark.parametrize("plan", [FULL, *map(nasty_plan, NASTY)])
def test_flowchart_is_of_nodes_and_edges_only(plan: Plan) -> None:
    """The lines are those of Mermaid's grammar that we use, and every node that an edge names is there."""
    lines = [line.strip() for line in render(plan)["mermaid"].splitlines()]
    for line in lines:
        assert re.fullmatch(LINE, line), line
    nodes = {found[0] for line in lines if (found := re.match(r"\w+(?=[\[({])", line))}
    edges = [line for line in lines if re.search(ARROW, line) and ":::" not in line]
    ends = {name for line in edges for name in re.split(rf" {ARROW} ", line)}
    assert ends == nodes


def test_flowchart_shows_both_ways_and_the_exits() -> None:
    """Forward thick, back dashed, and a person where the contract says so."""
    chart = render(FULL)["mermaid"]
    for part in (
        "enqueued ==> step_1 ==> step_2 ==> step_3 ==> step_4 ==> step_5 ==> step_6 ==> step_7 ==> succeeded",
        "back_4 -.-> back_3 -.-> back_2 -.-> rolled_back",
        'step_1 -. "fails" .-> rolled_back',
        'step_3 -. "fails" .-> back_3',
        'step_4 -- "fails" --> parked_4',
        'step_5["publish_page<br/>publish"]:::irreversible',
        'step_5 -- "fails" --> person',
        'step_6 -- "fails" --> person',
        'step_6 -. "by hand" .-> back_6',
        'step_7 -- "fails, goes on" --> succeeded',
        'back_2 -. "undo fails" .-> person',
    ):
        assert part in chart
    assert 'back_3 -. "undo fails"' not in chart


def test_labels_are_escaped_by_number() -> None:
    """What Mermaid would read as its own comes out as text."""
    assert escape_label('a "b" #1; ü') == "a #34;b#34; #35;1#59; ü"


# nasty texts


@pytest.mark.parametrize("text", NASTY)
def test_page_keeps_nasty_text_as_text(text: str) -> None:
    """Every element is ours, closed, and the text is read as it was written."""
    page = Page(render(nasty_plan(text))["html"])
    assert page.open == []
    harmless = Page(render(nasty_plan("x"))["html"])
    # Long names get places to break, and a backtick in a name looks like code in the sentence of a warning.
    marks = Counter(wbr=10_000, code=10_000)
    assert page.tags - marks == harmless.tags - marks
    assert [name for name, _ in page.attributes] == [name for name, _ in harmless.attributes]
    assert f"stays: {tell_contract(nasty_plan(text), ()).steps[0].action.removeprefix('stays: ')}" in page.text


@pytest.mark.parametrize("text", NASTY)
def test_markdown_tables_keep_their_columns(text: str) -> None:
    """A bar, a line break or a tag in a reason does not end a cell."""
    written = render(nasty_plan(text))["markdown"]
    outside = re.sub(r"```mermaid\n.*?\n```\n", "", written, flags=re.DOTALL)
    for block in re.findall(r"(?:^\|.*\n)+", outside, re.MULTILINE):
        columns = {len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) for line in block.splitlines()}
        assert len(columns) == 1, block
    assert "<script" not in outside
    assert not re.search(r"(?<!\\)\]\(", re.sub(r"`[^`\n]+`", "", outside))
    assert written.count("```") == 2


@pytest.mark.parametrize("text", NASTY)
def test_no_format_steers_a_terminal(text: str) -> None:
    """Every one of them may be printed."""
    for written in render(nasty_plan(text)).values():
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f\u202e]", written)


def test_page_loads_nothing_and_runs_nothing() -> None:
    """It can be mailed, and opened where there is no network."""
    written = render(FULL)["html"]
    page = Page(written)
    assert not {"script", "link", "img", "iframe"} & set(page.tags)
    assert not [
        value for name, value in page.attributes if name in ("src", "onload") or (value or "").startswith("http")
    ]
    assert "url(" not in written
    assert "@import" not in written


def test_page_can_be_read_by_everybody() -> None:
    """Language, one main heading, sections with headings, tables with captions and scopes, targets for each link."""
    page = Page(render(FULL)["html"])
    attributes = page.attributes
    assert ("lang", "en") in attributes
    assert page.tags["h1"] == page.tags["main"] == page.tags["title"] == 1
    assert page.tags["caption"] == page.tags["table"] == len(FULL.steps) + 2
    assert page.tags["h3"] == len(FULL.steps)
    assert ("scope", "col") in attributes
    assert ("scope", "row") in attributes
    ids = [value for name, value in attributes if name == "id"]
    assert len(ids) == len(set(ids))
    targets = {value for name, value in attributes if name == "aria-labelledby"}
    targets |= {(value or "")[1:] for name, value in attributes if name == "href"}
    assert targets <= set(ids)


def contrast(one: str, other: str) -> float:
    def light(colour: str) -> float:
        full = colour if len(colour) == 7 else "#" + "".join(2 * digit for digit in colour[1:])
        parts = [int(full[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    darker, lighter = sorted((light(one), light(other)))
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("is_dark", [False, True], ids=["light", "dark"])
def test_page_has_enough_contrast(is_dark: bool) -> None:
    """Text by WCAG 2.2 AA: 4.5 to 1; lines that carry meaning: 3 to 1."""
    sets = re.findall(r":root \{(.*?)\}", render(FULL)["html"], re.DOTALL)
    colours = dict(re.findall(r"--([\w-]+): (#\w+)", sets[is_dark]))
    grounds = ("page", "sheet", "head", "step", "undo", "stays", "never", "person", "good", "code")
    for ground in grounds:
        assert contrast(colours["ink"], colours[ground]) >= 4.5, ground
        assert contrast(colours["soft"], colours[ground]) >= 4.5, ground
    for line in ("step-line", "undo-line", "stays-line", "never-line", "person-line", "good-line"):
        assert contrast(colours[line], colours["page"]) >= 3, line


# words


def test_code_is_marked_with_what_no_text_can_have() -> None:
    """A reason that looks like code stays a reason."""
    assert list(split_code(f"ask {mark_code('a`b')} now")) == [("ask ", False), ("a`b", True), (" now", False)]
    assert plain(mark_code("x")) == "`x`"
    told = tell_contract(nasty_plan("\x02code\x03"), ()).steps[0].action
    assert told == "stays: \\x02code\\x03"


CHANGES: Final[dict[str, Callable[[StepContract], dict[str, Any]]]] = {
    "idempotent": lambda step: {"idempotent": not step.idempotent},
    "timeout": lambda step: {"timeout_seconds": step.timeout_seconds + 1},
    "retry": lambda step: {"retry": retry_rule(17)},
    "on_failure": lambda step: {"on_failure": OnFailure.REVIEW},
    "key": lambda step: {"has_own_key": not step.has_own_key},
    "queue": lambda step: {"options": {"queue": "slow"}},
    "word": lambda step: {"failed": "gone_wrong"},
    "ack": lambda step: {"ack_early": not step.ack_early},
}


@pytest.mark.parametrize("change", list(CHANGES))
@pytest.mark.parametrize("name", ["table", "markdown", "html"])
def test_each_change_of_a_contract_can_be_seen(name: str, change: str) -> None:
    """A review of a change sees it."""
    step = FULL.steps[2]
    changed = replace(FULL, steps=(*FULL.steps[:2], replace(step, **CHANGES[change](step)), *FULL.steps[3:]))
    before, after = render(FULL)[name], render(changed)[name]
    assert before.replace(FULL.digest, "") != after.replace(changed.digest, "")

"""The studio's site in a real browser: customers book, something fails, and staff helps."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from backout.testing.servers.rabbitmq import free_port
from tests.support.browser import open_context, take_picture
from tests.support.examples import RunningExample, run_example
from tests.support.worker import ROOT

FOLDER = ROOT / "examples" / "flask_booking"
COMMAND = ("-m", "examples.flask_booking")
CONFIRMED = "Your booking is confirmed. You have a mail from us."
NO_MAIL = "Your booking is confirmed. We could not send you a mail about it."
NOT_BOOKED = "The studio cannot take your booking. Nothing is booked, the slot is free again."
IN_REVIEW = "The studio cannot take your booking. Somebody of us is looking after it."
TAKEN = "Somebody else was faster: this slot is taken. Nothing was booked."
REASON = "the studio answers the telephone again"


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningExample]:
    """The example, started by the command of its README; Ctrl-C at the end stops all of it."""
    folder = tmp_path_factory.mktemp("studio")
    environment = {"BOOKING_FOLDER": str(folder), "BOOKING_PORT": str(free_port())}
    with run_example(*COMMAND, environment=environment, log=folder / "example.log") as running:
        yield running


@pytest.fixture
def customer(browser: Browser, studio: RunningExample) -> Iterator[Page]:
    """A customer's browser."""
    with open_context(browser, studio.url, width=720, height=620) as context:
        yield context.new_page()


@pytest.fixture
def staff(browser: Browser, studio: RunningExample) -> Iterator[Page]:
    """The browser of somebody who is logged in."""
    with open_context(browser, studio.url, height=1500) as context:
        page = context.new_page()
        page.goto("/staff/")
        log_in(page)
        yield page


def test_readme_says_what_is_there() -> None:
    """The command of the README is the one that these tests run, and the files that it explains exist."""
    readme = (FOLDER / "README.md").read_text()
    assert f"$ python {' '.join(COMMAND)}\n" in readme
    named = re.findall(r"^\| `([^`]+)` \|", readme, re.MULTILINE)
    assert named
    assert [name for name in named if not (FOLDER / name).exists()] == []


def log_in(page: Page) -> None:
    page.get_by_label("Name").fill("demo")
    page.get_by_label("Password").fill("demo")
    page.get_by_role("button", name="Log in").click()


def fill_in(page: Page, slot: str, trouble: str = "nothing") -> None:
    """Fill in the form."""
    page.goto("/")
    page.get_by_label("Your name").fill("Ada Lovelace")
    page.get_by_label("Your e-mail").fill("ada@example.com")
    page.get_by_label("When").select_option(slot)
    page.get_by_label("what shall go wrong").select_option(label=trouble)


def book(page: Page, slot: str, trouble: str = "nothing") -> None:
    """Fill in the form and send it."""
    fill_in(page, slot, trouble)
    page.get_by_role("button", name="Book").click()


def says(page: Page, message: str) -> None:
    """Fail unless the customer's page comes to say this; it loads itself again until the run is settled."""
    expect(page.get_by_role("status")).to_have_text(message)


def test_booking_is_confirmed(customer: Page, studio: RunningExample) -> None:
    """The smooth way: reserved, confirmed, and a mail; a second customer does not get the same slot."""
    book(customer, "Monday 9:00")
    says(customer, CONFIRMED)
    assert "mail to ada@example.com" in studio.log.read_text()
    take_picture(customer, "flask_booking")
    book(customer, "Monday 9:00")
    says(customer, TAKEN)


def test_second_click_books_nothing_more(customer: Page, staff: Page) -> None:
    """A double click on the button is one booking and one run."""
    fill_in(customer, "Monday 14:00")
    customer.get_by_role("button", name="Book").dblclick()
    says(customer, CONFIRMED)
    staff.goto("/staff/")
    expect(staff.get_by_role("row").filter(has_text="Monday 14:00")).to_have_count(1)


def test_booking_stands_without_its_mail(customer: Page) -> None:
    """A mail that cannot be sent undoes nothing, and the customer is told."""
    book(customer, "Tuesday 9:00", "the mail cannot be sent")
    says(customer, NO_MAIL)


def test_slot_is_given_back(customer: Page) -> None:
    """A booking that the studio does not confirm leaves nothing behind: the slot can be booked again."""
    book(customer, "Wednesday 9:00", "the studio does not confirm")
    says(customer, NOT_BOOKED)
    book(customer, "Wednesday 9:00")
    says(customer, CONFIRMED)


def test_stranger_is_led_to_the_login_and_back(browser: Browser, studio: RunningExample) -> None:
    """Runs are shown to staff only; whoever logs in comes to the page that was asked for."""
    with open_context(browser, studio.url) as context:
        page = context.new_page()
        page.goto("/staff/runs/reviews")
        expect(page.get_by_role("heading", name="For our staff")).to_be_visible()
        log_in(page)
        assert page.url.startswith(f"{studio.url}/staff/runs/reviews")


def test_staff_helps_a_booking_whose_undo_failed(customer: Page, staff: Page) -> None:
    """An undo fails; staff previews and runs it again; customer and entries tell what became of it, and by whom."""
    book(customer, "Thursday 9:00", "the studio does not confirm, and does not take the slot back either")
    says(customer, IN_REVIEW)
    staff.goto("/staff/")
    row = staff.get_by_role("row").filter(has_text="Thursday 9:00")
    expect(row).to_contain_text(IN_REVIEW)
    row.get_by_role("button", name="Mend").click()
    row.get_by_role("link", name="in review").click()
    take_picture(staff, "flask_run", is_whole=False)
    page_of_run = staff.url
    staff.get_by_role("link", name=re.compile("Run the undo of reserve again")).click()
    staff.get_by_label("Why").fill(REASON)
    staff.set_viewport_size({"width": 1100, "height": 860})
    take_picture(staff, "flask_preview", is_whole=False)
    staff.get_by_role("button", name=re.compile("undo of reserve")).click()
    expect(staff.get_by_role("status")).to_be_visible()
    assert staff.url == page_of_run
    entry = staff.get_by_role("row").filter(has_text=REASON).first
    expect(entry).to_contain_text("flask:demo")
    customer.reload()
    says(customer, NOT_BOOKED)
    staff.reload()
    expect(staff.get_by_text("rolled back").first).to_be_visible()

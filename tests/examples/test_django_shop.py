"""The Django shop in a browser, run as its page says: by one command."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.browser import open_context, take_picture
from tests.support.examples import RunningExample, run_example

ON_ITS_WAY = "Your order is on its way."
NOT_DELIVERED = "We cannot deliver to you. You have your money back."
ATTENTION = "Something needs our attention"
REASON = "the bank has opened again"


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningExample]:
    """The shop on a ledger of its own, started by the command of its README."""
    folder = tmp_path_factory.mktemp("shop")
    environment = {"DATABASE_URL": f"sqlite:///{folder / 'shop.sqlite3'}"}
    with run_example("examples/django_shop", environment=environment, log=folder / "output") as running:
        yield running


@pytest.fixture
def customer(shop: RunningExample, browser: Browser) -> Iterator[Page]:
    """A customer in front of the shop."""
    with open_context(browser, shop.url) as context:
        yield context.new_page()


@pytest.fixture
def staff(shop: RunningExample, browser: Browser) -> Iterator[Page]:
    """Somebody of the staff who has logged in."""
    with open_context(browser, shop.url, width=1280, height=1450) as context:
        page = context.new_page()
        page.goto("/admin/")
        page.get_by_label("Username").fill("demo")
        page.get_by_label("Password").fill("demo")
        page.get_by_role("button", name="Log in").click()
        yield page


def place_order(page: Page, customer: str, *, ticks: tuple[str, ...] = ()) -> None:
    page.goto("/")
    page.get_by_label("Customer").fill(customer)
    for tick in ticks:
        page.get_by_label(tick).check()
    page.get_by_role("button", name="Order with obligation to pay").click()


def test_order_is_fulfilled_and_its_customer_is_told(customer: Page) -> None:
    """An order goes through, and its page says so without being asked to reload."""
    place_order(customer, "Ada")
    expect(customer.get_by_role("status")).to_have_text(ON_ITS_WAY)


def test_refused_parcel_is_paid_back_and_its_customer_is_told(customer: Page) -> None:
    """When the courier refuses, what was done is undone, and the customer reads what that means for them."""
    place_order(customer, "Bob", ticks=("Let the courier refuse the parcel",))
    expect(customer.get_by_role("status")).to_have_text(NOT_DELIVERED)


def test_staff_helps_a_rollback_that_cannot_go_on(customer: Page, staff: Page) -> None:
    """Staff sees why a rollback waits, mends the cause, looks at what would run, and does it; their name is kept."""
    place_order(customer, "Eve", ticks=("Let the courier refuse the parcel", "Let the bank refuse to pay money back"))
    expect(customer.get_by_role("status")).to_contain_text(ATTENTION)
    order = customer.url.rstrip("/").rpartition("/")[2]

    staff.get_by_role("link", name="Runs", exact=True).first.click()
    staff.locator("#searchbar").fill(f"order {order}")
    staff.get_by_role("button", name="Search").click()
    take_picture(staff, "django_admin_runs", is_whole=False)
    staff.locator("#result_list tbody").get_by_role("link").first.click()
    expect(
        staff.get_by_text("a person must decide").or_(staff.get_by_text("it could not be undone")).first
    ).to_be_visible()
    take_picture(staff, "django_admin_run", is_whole=False)
    take_picture(staff.locator("section").filter(has=staff.locator(".flow")), "run_pipeline")
    take_picture(staff.locator(".chart"), "run_timeline")
    run_url = staff.url

    staff.goto(f"/admin/orders/order/{order}/change/")
    staff.get_by_label("Let the bank refuse to pay money back").uncheck()
    staff.get_by_role("button", name="Save", exact=True).click()
    expect(staff.get_by_text("was changed successfully")).to_be_visible()

    staff.goto(run_url)
    staff.get_by_role("listitem").filter(has_text="Run the undo of charge_card again").get_by_role("link").click()
    expect(staff.get_by_text("pay the money back").first).to_be_visible()
    take_picture(staff, "django_admin_preview", is_whole=False)
    staff.get_by_label("Why").fill(REASON)
    staff.get_by_role("button", name="Run the undo of charge_card again").click()
    expect(staff).to_have_url(re.compile("/change/"))

    expect(customer.get_by_role("status")).to_have_text(NOT_DELIVERED)
    staff.goto(run_url)
    expect(staff.get_by_role("row").filter(has_text=REASON).filter(has_text="django:demo").first).to_be_visible()

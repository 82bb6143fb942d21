"""The pages in a real browser: read, sorted, filtered, compared, in the dark, without scripts."""

from __future__ import annotations

import re

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect
from visits import REASON, Served, Visit

pytestmark = pytest.mark.slow

BOARD = "/boards/zapbench-mini/4"
ENTRY = "/entries/id-of-var"
COMPARE = "/compare?entries=id-of-linear,id-of-persistence,id-of-var"
PHONE = {"viewport": {"width": 390, "height": 844}}
DARK = {"color_scheme": "dark"}
NO_SCRIPT = {"java_script_enabled": False}


def with_context(**options: object) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("visit", [options], indirect=True)


def names(page: Page) -> list[str]:
    return page.locator(".board tbody th.col-name > a").all_inner_texts()


def draw_all(page: Page) -> None:
    for figure in page.locator("figure[data-chart]").all():
        figure.scroll_into_view_if_needed()
        expect(figure).to_have_attribute("data-drawn", "", timeout=60_000)
        expect(figure.locator("svg.marks")).to_be_visible()


def sign_in(page: Page, secret: str) -> None:
    page.goto("/sign-in")
    page.get_by_label("Token").fill(secret)
    page.get_by_role("main").get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("button", name="Sign out")).to_be_visible()


def test_a_visitor_browses_from_the_boards_to_an_entry(visit: Visit) -> None:
    page = visit.page
    page.goto("/")
    page.get_by_role("link", name="zapbench-mini@1").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("zapbench-mini@1")
    expect(page.locator(".spark-range").first).to_be_visible()
    page.get_by_role("link", name="The var").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("The var")
    draw_all(page)


def test_sorting_and_filtering_leave_an_address_that_shows_the_same(visit: Visit) -> None:
    page = visit.page
    page.goto(BOARD)
    ranked = names(page)
    page.get_by_role("columnheader", name="entry").get_by_role("link").click()
    expect(page).to_have_url(re.compile(r"sort=name"))
    assert names(page) == sorted(ranked)
    header = page.get_by_role("columnheader", name="entry")
    expect(header).to_have_attribute("aria-sort", "ascending")
    page.get_by_text("Filters", exact=True).click()
    page.get_by_role("combobox", name="Baseline").select_option("no")
    page.get_by_label("Name").fill("the")
    page.get_by_role("button", name="Apply").click()
    shown = names(page)
    assert shown == ["The linear", "The stimulus", "The var"]
    address = page.url
    page.goto("/")
    page.goto(address)
    assert names(page) == shown


def test_entries_are_chosen_and_compared(visit: Visit) -> None:
    page = visit.page
    page.goto(BOARD)
    button = page.get_by_role("button", name="Compare the chosen")
    expect(button).to_be_disabled()
    for name in ("The linear", "The var", "The persistence"):
        page.get_by_label(f"Compare {name}").check()
    expect(page.get_by_text("3 chosen")).to_be_visible()
    button.click()
    expect(page.get_by_role("heading", level=1)).to_have_text("3 entries side by side")
    expect(page.locator("#pairs")).to_be_visible()
    page.get_by_label("Series").select_option("taxis")
    page.get_by_role("button", name="Apply").click()
    expect(page).to_have_url(re.compile("series=taxis"))
    draw_all(page)


@with_context(**DARK)
def test_the_dark_follows_the_system_and_the_button_beats_it(visit: Visit) -> None:
    page = visit.page
    page.goto(BOARD)
    paper = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(paper)
    page.get_by_role("button", name="Colours").click()
    light = page.evaluate(paper)
    assert light != dark
    page.goto(ENTRY)
    assert page.evaluate(paper) == light
    page.get_by_role("button", name="Colours").click()
    assert page.evaluate(paper) == dark
    draw_all(page)


@with_context(**NO_SCRIPT)
def test_everything_can_be_read_and_compared_without_scripts(visit: Visit) -> None:
    page = visit.page
    page.goto(f"{BOARD}?sort=name")
    assert len(names(page)) == 5
    page.get_by_label("Compare The linear").check()
    page.get_by_label("Compare The var").check()
    page.get_by_role("button", name="Compare the chosen").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("2 entries side by side")
    page.goto(ENTRY)
    expect(page.get_by_role("rowheader", name="average")).to_be_visible()
    expect(page.get_by_text("Drawing this needs JavaScript").first).to_be_visible()


def test_a_failed_submission_says_why(visit: Visit, served: Served) -> None:
    page = visit.page
    sign_in(page, served.secret)
    page.get_by_role("link", name="My submissions").click()
    page.get_by_role("link", name="mine").click()
    expect(page.get_by_role("status")).to_contain_text(REASON)
    expect(page.get_by_role("status")).to_contain_text("Mend the store and submit it again")
    expect(page.get_by_role("button", name="Run it again")).to_have_count(0)


@with_context(**PHONE)
def test_no_page_is_wider_than_a_phone(visit: Visit) -> None:
    page = visit.page
    for address in ("/", BOARD, ENTRY, COMPARE, "/benchmarks/zapbench", "/docs", "/sign-in"):
        page.goto(address)
        wide = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        assert wide <= 0, address


@pytest.mark.parametrize("visit", [{}, DARK], indirect=True, ids=["light", "dark"])
def test_nothing_serious_keeps_anybody_from_reading(visit: Visit, served: Served) -> None:
    page = visit.page
    sign_in(page, served.secret)
    addresses = ["/", BOARD, ENTRY, COMPARE, "/benchmarks", "/benchmarks/zapbench", "/docs"]
    found = []
    for address in [*addresses, "/submissions", f"/submissions/{served.failed}", "/sign-in"]:
        page.goto(address)
        if address in (BOARD, ENTRY, COMPARE):
            draw_all(page)
        results = Axe().run(page, options={"resultTypes": ["violations"]})
        found += [
            f"{address}: {one['id']}: {one['nodes'][0]['html'][:120]}"
            for one in results.response["violations"]
            if one["impact"] in ("serious", "critical")
        ]
    assert not found


def test_the_keyboard_reaches_the_content_first(visit: Visit) -> None:
    page = visit.page
    page.goto(BOARD)
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#content")).to_be_focused()

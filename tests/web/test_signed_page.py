"""Signed readings in Chromium: what would edit is disabled, or says that the reading is signed."""

import pytest

from browsers import chromium, opened
from fake_page import FakePage, running

EDITS = "/api/clips/clip0/edits"
SIGNED = "This reading is signed. Reopen it first to change it."
ITEMS = ("Carry to neighbors", "Set ED here", "Set ES here", "Exclude this beat", "Add or remove")


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


@pytest.fixture
def fake():
    return FakePage()


@pytest.fixture
def page(browser, fake):
    with running(fake) as url, opened(browser, f"{url}/clip/clip0") as page:
        page.locator("#ef").wait_for()
        yield page


def edits(fake):
    return [body["operation"] for path, body in fake.requests if path == EDITS]


def settled(page):
    """Wait until every edit was answered."""
    page.locator('.pane[data-waiting="0"]').wait_for()


def said(page):
    return page.locator("#say").inner_text()


def forget(page):
    page.evaluate("document.getElementById('say').textContent = ''")


def drag(page, locator, by):
    box = locator.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + by / 2, y)
    page.mouse.move(x + by, y)
    page.mouse.up()


def accept(page):
    page.get_by_role("button", name="Accept").click()
    page.get_by_role("dialog").get_by_role("button", name="Accept").click()
    page.locator(".decision.accepted").wait_for()


def test_what_edits_is_disabled_in_a_signed_reading_until_it_is_reopened(page, fake):
    page.keyboard.press("b")
    accept(page)
    assert page.get_by_role("button", name="Look").get_attribute("aria-pressed") == "true"
    controls = [page.get_by_label("Beat 2 is part of the mean"), page.get_by_label("View")]
    page.get_by_text("More", exact=True).click()
    controls += [page.get_by_role("button", name=name) for name in ITEMS]
    assert [one.is_disabled() for one in controls] == [True] * 7
    page.get_by_text("More", exact=True).click()
    page.get_by_role("button", name="Reopen").click()
    page.get_by_label("Reason", exact=True).fill("another beat")
    page.get_by_role("dialog").get_by_role("button", name="Reopen").click()
    page.get_by_role("button", name="Accept").wait_for()
    page.get_by_text("More", exact=True).click()
    assert [one.is_disabled() for one in controls] == [False] * 7
    assert edits(fake) == []


@pytest.mark.parametrize("key", [*"pbekacdsx", "Control+z", "Control+Shift+Z"])
def test_a_key_that_edits_says_that_the_reading_is_signed(page, fake, key):
    accept(page)
    page.keyboard.press(key)
    assert said(page) == SIGNED
    assert [path for path, _ in fake.requests] == ["/api/clips/clip0/decision"]


def test_marks_of_a_signed_reading_stay_and_say_why(page, fake):
    accept(page)
    mark = page.locator('[data-mark="ed1"]')
    place = mark.get_attribute("transform")
    drag(page, mark.locator("circle").last, 60)
    assert said(page) == SIGNED
    forget(page)
    mark.focus()
    page.keyboard.press("ArrowRight")
    assert said(page) == SIGNED
    assert mark.get_attribute("transform") == place
    assert mark.get_attribute("aria-disabled") == "true"
    assert edits(fake) == []


def test_an_edit_of_a_reading_that_another_window_signed_says_so(page, fake):
    fake.decision = ("accepted", "")
    page.keyboard.press("d")
    page.locator("#say", has_text="signed elsewhere").wait_for()
    page.locator(".decision.accepted").wait_for()
    page.keyboard.press("d")
    assert said(page) == SIGNED


@pytest.mark.parametrize("item", ["Set ED here", "Exclude this beat", "Add or remove"])
def test_nothing_is_said_to_be_done_that_the_server_refuses(page, fake, item):
    said_all = []
    page.expose_function("heard", lambda text: said_all.append(text))
    page.evaluate("""() => new MutationObserver(
      () => window.heard(document.getElementById("say").textContent)
    ).observe(document.getElementById("say"), { childList: true, characterData: true })""")
    fake.refusals.append((422, "This cannot be done."))
    page.get_by_text("More", exact=True).click()
    page.get_by_role("button", name=item).click()
    page.locator("#say", has_text="This cannot be done.").wait_for()
    settled(page)
    page.wait_for_timeout(50)
    assert said_all == ["Not stored: This cannot be done."]


def test_an_edit_is_confirmed_once_it_is_stored(page, fake):
    with fake.lock:  # the server does not answer yet
        page.keyboard.press("d")
        page.wait_for_timeout(100)
        assert said(page) == ""
    page.locator("#say", has_text="ED set to frame 0.").wait_for()
    page.keyboard.press("x")
    page.locator("#say", has_text="Beat 1 is excluded from the mean.").wait_for()

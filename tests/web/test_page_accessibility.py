"""Every page for every reader: axe-core, phones, 200 % zoom, dark, a visible focus."""

import pytest

from browsers import DESKTOP, opened, overflow, serious_findings
from fake_page import FakePage, running

PHONE = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True}
ZOOMED = {"viewport": {"width": 720, "height": 450}, "device_scale_factor": 2}
SCREENS = {
    "desktop": {}, "phone": PHONE, "200 percent": ZOOMED, "dark": {"color_scheme": "dark"},
    "no color": {"forced_colors": "active"},
}  # fmt: skip


@pytest.fixture(scope="module")
def url():
    with running(FakePage(num_clips=12)) as url:
        yield url


@pytest.mark.parametrize("screen", SCREENS)
@pytest.mark.parametrize("path", ["/", "/clip/clip0", "/study/study0", "/live"])
def test_no_serious_findings_and_nothing_beyond_the_window(browser, url, path, screen):
    with opened(browser, url + path, **SCREENS[screen]) as page:
        page.locator("#ef, #rows tr").first.wait_for()
        if "clip" in path:
            page.get_by_role("button", name="Points").click()
            page.locator(".handle").first.wait_for()
        assert overflow(page) <= 0
        assert serious_findings(page) == []


@pytest.mark.parametrize("key", ["?", "h"])
def test_dialogs_have_no_serious_findings(browser, url, key):
    with opened(browser, f"{url}/clip/clip0") as page:
        page.locator("#ef").wait_for()
        page.keyboard.press(key)
        page.get_by_role("dialog").wait_for()
        assert serious_findings(page) == []
        page.keyboard.press("Escape")
        assert page.get_by_role("dialog").count() == 0


@pytest.mark.parametrize("screen", ["desktop", "phone", "dark"])
def test_an_earlier_version_has_no_serious_findings(browser, screen):
    with (
        running(FakePage()) as url,
        opened(browser, f"{url}/clip/clip0", **SCREENS[screen]) as page,
    ):
        page.locator("#ef").wait_for()
        page.keyboard.press("x")
        page.locator('.pane[data-revision="1"]').wait_for()
        page.keyboard.press("h")
        page.get_by_role("button", name="Show version 0").click()
        page.get_by_role("group", name="An earlier version is shown").wait_for()
        assert overflow(page) <= 0
        assert serious_findings(page) == []


def test_everything_fits_on_one_screen_of_a_desktop(browser, url):
    with opened(browser, f"{url}/clip/clip0") as page:
        page.locator("#ef").wait_for()
        for part in (".surface", ".curve", ".stills", "#ef", ".transport"):
            box = page.locator(part).bounding_box()
            assert box["y"] + box["height"] <= DESKTOP["height"], part


def test_a_finger_drags_a_point_and_two_zoom(browser, url):
    with opened(browser, f"{url}/clip/clip0", **PHONE) as page:
        page.locator("#ef").wait_for()
        page.get_by_role("button", name="Points").click()
        handle = page.locator(".handle").nth(3)
        handle.scroll_into_view_if_needed()
        box = handle.bounding_box()
        assert min(box["width"], box["height"]) >= 24
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        session = page.context.new_cdp_session(page)
        for kind, points in (("touchStart", [(x, y)]), ("touchMove", [(x + 15, y)]),
                             ("touchMove", [(x + 30, y)]), ("touchEnd", [])):  # fmt: skip
            touches = [{"x": a, "y": b} for a, b in points]
            session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": touches})
        page.locator('.pane[data-revision="1"]').wait_for()
        assert handle.bounding_box()["x"] > box["x"] + 20


def test_the_focus_is_visible(browser, url):
    with opened(browser, f"{url}/clip/clip0") as page:
        page.locator("#ef").wait_for()
        for _ in range(40):
            page.keyboard.press("Tab")
            style = page.evaluate(
                "() => { const s = getComputedStyle(document.activeElement);"
                " const r = document.activeElement.querySelector?.('.touch');"
                " return s.outlineStyle + (r ? getComputedStyle(r).stroke : ''); }"
            )
            assert style != "none", page.evaluate("document.activeElement.outerHTML")

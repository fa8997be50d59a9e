"""Browsers of the system for tests of the page, and the checks that every page must pass."""

import contextlib
import os
import shutil
from pathlib import Path

import pytest

AXE = Path(os.environ.get("ECHOSEG_AXE", "node_modules/axe-core")) / "axe.min.js"
DESKTOP = {"width": 1440, "height": 900}


@contextlib.contextmanager
def chromium():
    """Yield the system's Chromium; the test is skipped where it is not installed."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    path = shutil.which("chromium") or pytest.skip("needs Debian's package chromium")
    with playwright.sync_playwright() as tool:
        browser = tool.chromium.launch(executable_path=path, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


@contextlib.contextmanager
def opened(browser, url, **options):
    """Yield a page in a context of its own; it must raise no error, nor break its own CSP."""
    context = browser.new_context(**{"viewport": DESKTOP, "reduced_motion": "reduce"} | options)
    page = context.new_page()
    page.set_default_timeout(15_000)
    problems = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: _note(problems, message))
    try:
        page.goto(url)
        yield page
    finally:
        context.close()
    assert problems == []


def _note(problems, message):
    """Errors of the page's own; the browser's lines on refused requests are expected in tests."""
    is_network = message.text.startswith("Failed to load resource")
    if message.type == "error" and not is_network:
        problems.append(message.text)


def serious_findings(page):
    """Findings of axe-core that are serious or critical, one line each."""
    if not AXE.exists():
        pytest.skip("needs axe-core: npm install axe-core@4, or ECHOSEG_AXE=FOLDER")
    page.evaluate(AXE.read_text("utf-8"))
    found = page.evaluate("() => axe.run(document, {resultTypes: ['violations']})")["violations"]
    return [
        f"{one['id']}: {node['html'][:120]}"
        for one in found
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"]
    ]


def overflow(page):
    """How many pixels the page is wider than its window."""
    return page.evaluate(
        "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
    )


def drag(page, locator, right_px, down_px=0):
    """Drag an element over the screen."""
    box = locator.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + right_px / 2, y + down_px / 2)
    page.mouse.move(x + right_px, y + down_px)
    page.mouse.up()

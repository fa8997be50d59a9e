"""The shipped clip from `echoseg serve` to a corrected EF, in Chromium; the server is killed."""

import io
import json
import shutil
import signal
import zipfile
from pathlib import Path

import pydicom
import pytest

import echoseg.weights
from browsers import drag, opened, serious_findings
from echoseg.audit import AuditLog
from page_makers import running_page

CLIP = Path(echoseg.weights.__file__).parent / "simulated_a4c.dcm"
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
_WAIT_MS = 300_000


def read(page):
    """What the page says of the EF, and its headline."""
    card, headline = (page.locator(one).inner_text().replace("\xa0", " ") for one in (".ef", "#ef"))
    return card, headline


def drag_point(page, index, by):
    drag(page, page.locator('.handle[data-kind=""]').nth(index), by)


def sr_ef(page, url):
    """The EF (LOINC 18043-0) of the structured report that the page exports."""
    clip = page.url.rpartition("/")[2]
    answer = page.request.get(f"{url}/api/clips/{clip}/export?format=dicom", timeout=_WAIT_MS)
    with zipfile.ZipFile(io.BytesIO(answer.body())) as objects:
        report = pydicom.dcmread(io.BytesIO(objects.read("sr.dcm")))
    waiting = [report]
    for item in waiting:
        waiting.extend(item.get("ContentSequence", []))
        concept = item.get("ConceptNameCodeSequence")
        if concept and concept[0].CodeValue == "18043-0":
            return float(item.MeasuredValueSequence[0].NumericValue)
    raise AssertionError("the SR has no EF")


def edits_of(folder):
    lines = (folder / "audit.jsonl").read_text("utf-8").splitlines()
    return [one for one in map(json.loads, lines) if one["event"] == "edit"]


def test_a_correction_survives_a_kill(browser, tmp_path):
    folder = tmp_path / "page"
    with running_page(folder, clips=[CLIP]) as (url, process), opened(browser, url) as page:
        page.locator("#rows tr.ready a").click(timeout=_WAIT_MS)
        page.locator("#ef").wait_for()
        card, before = read(page)
        assert "90 % interval" in card and before.endswith(" %")
        assert serious_findings(page) == []
        page.get_by_role("button", name="Go to end of diastole").click()
        page.keyboard.press("p")
        drag_point(page, 2, 25)
        page.locator('.pane[data-waiting="0"] .badge', has_text="corrected by reader").wait_for()
        card, corrected = read(page)
        assert corrected != before and f"network {before}, 90 % interval" in card
        assert len(edits_of(folder)) == 1
        assert f"{sr_ef(page, url):.0f} %" == corrected
        curve = page.locator(".curve .raw").get_attribute("d")
        port, address = url.rpartition(":")[2].strip("/"), page.url
        process.send_signal(signal.SIGKILL)
        process.wait(30)
        drag_point(page, 5, -25)  # in the middle of it there is no server
        page.locator(".view .note", has_text="not stored yet").wait_for()
        with running_page(folder, "--port", port) as (again, _):
            assert again == url
            page.locator('.pane[data-waiting="0"]').wait_for()
            last = read(page)
            revision = page.locator(".pane").get_attribute("data-revision")
            assert page.locator(".curve .raw").get_attribute("d") != curve
            page.goto(address)
            page.locator(f'.pane[data-revision="{revision}"]').wait_for()
            assert read(page) == last
            page.keyboard.press("h")
            page.locator("table.history tr.current").wait_for()
            assert page.locator("table.history tbody tr").count() == 3  # with the network's own
            page.keyboard.press("Escape")
            for _ in range(2):
                page.keyboard.press("Control+z")
            page.locator('.pane[data-waiting="0"] .badge', has_text="network").wait_for()
            assert read(page)[1] == before
    assert len(edits_of(folder)) >= 2
    assert AuditLog(folder / "audit.jsonl").verify().problems == ()
    shutil.rmtree(folder)

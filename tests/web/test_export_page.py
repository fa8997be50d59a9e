"""Exports as a reader asks for them in Chromium: saved under their names, or refused with why."""

from pathlib import Path

import pytest

from browsers import opened
from fake_page import FakePage, running

REASON = "This cannot be exported: the source is not DICOM."


@pytest.fixture
def page(browser):
    with running(FakePage()) as url, opened(browser, f"{url}/clip/clip0") as page:
        page.locator("#ef").wait_for()
        page.get_by_text("More").click()
        page.get_by_role("button", name="Export").click()
        yield page


def answer(page, **options):
    """Answer exports; the addresses that were asked for."""
    paths = []

    def fulfill(route):
        paths.append(route.request.url.partition("/api/")[2])
        route.fulfill(**options)

    page.route("**/export?*", fulfill)
    return paths


def test_a_refused_export_says_why(page):
    downloads = []
    page.on("download", lambda one: downloads.append(one))
    answer(page, status=422, json={"error": REASON})
    page.get_by_role("link", name="For a PACS").click()
    page.get_by_role("dialog").locator("[role=status]", has_text=REASON).wait_for()
    page.locator("#say.error", has_text=REASON).wait_for()
    page.route("**/export?*", lambda route: route.abort())
    page.get_by_role("link", name="Masks").click()
    said = page.get_by_role("dialog").locator("[role=status]")
    said.get_by_text("The server does not answer.").wait_for()
    assert downloads == []


@pytest.mark.parametrize(
    ("disposition", "name"),
    [
        ('attachment; filename="clip-1.report.pdf"', "clip-1.report.pdf"),
        ("attachment; filename*=UTF-8''M%C3%BCller%20A4C.pdf", "Müller A4C.pdf"),
        (None, "clip0-pdf"),
    ],
)
def test_an_export_is_saved_under_the_name_that_the_server_gives(page, disposition, name):
    headers = {"Content-Disposition": disposition} if disposition else {}
    paths = answer(page, body=b"%PDF-", content_type="application/pdf", headers=headers)
    with page.expect_download() as download:
        page.get_by_role("link", name="Report", exact=True).click()
    assert Path(download.value.suggested_filename).stem == Path(name).stem
    assert disposition is None or download.value.suggested_filename == name
    assert Path(download.value.path()).read_bytes() == b"%PDF-"
    assert paths == ["clips/clip0/export?format=pdf&slot=1"]
    said = page.get_by_role("dialog").locator("[role=status]").inner_text()
    assert said == "Report is being prepared; its download begins by itself."


def test_the_table_of_the_worklist_is_saved_or_says_why_not(browser):
    with running(FakePage()) as url, opened(browser, url) as page:
        button = page.get_by_role("button", name="Export these as a table")
        page.route("**/export.csv?*", lambda route: route.fulfill(status=500, json={"error": "no"}))
        button.click()
        page.locator("#say.error", has_text="no").wait_for()
        headers = {"Content-Disposition": 'attachment; filename="registry.csv"'}
        page.route("**/export.csv?*", lambda route: route.fulfill(body="clip\n", headers=headers))
        with page.expect_download() as download:
            button.click()
        assert download.value.suggested_filename == "registry.csv"
        assert page.url.rstrip("/") == url.rstrip("/")

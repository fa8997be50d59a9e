"""A real server in Chromium: markup in names and tags stays text, and a reader signs in."""

import shutil
from pathlib import Path

import pydicom
import pytest
from typer.testing import CliRunner

import echoseg.weights
from browsers import chromium, opened
from echoseg.cli import app
from page_makers import PASSWORD, running_page

MARKUP = '"><img src=x onerror=alert(1)>&lt;<svg onload=alert(2)>'
CLIP = Path(echoseg.weights.__file__).with_name("simulated_a4c.dcm")
TAGS = ("PatientID", "StudyDescription", "SeriesDescription", "Manufacturer", "ProtocolName")
_READY_S = 200


def hostile_clip(folder):
    """A clip whose name and tags are markup."""
    path = folder / f"{MARKUP}.dcm"
    shutil.copy(CLIP, path)
    dataset = pydicom.dcmread(path)
    for tag in TAGS:
        setattr(dataset, tag, MARKUP)
    dataset.save_as(path)
    return path


@pytest.mark.slow
def test_markup_stays_text_and_no_page_breaks_the_policy(tmp_path):
    clip, dialogs = hostile_clip(tmp_path), []
    options = ("--show-names",)
    with (
        chromium() as browser,
        running_page(tmp_path / "data", *options, clips=[clip]) as (address, _),
        opened(browser, address) as page,
    ):
        page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
        page.get_by_text(MARKUP).first.wait_for()
        row = page.locator("#rows tr", has_text="%").first
        row.wait_for(timeout=_READY_S * 1000)
        name = row.get_attribute("data-id")
        for path in (f"/clip/{name}", "/live", "/clip/%3Cimg%20src=x%20onerror=alert(3)%3E", "/"):
            page.goto(address + path)
            page.wait_for_timeout(1500)
    assert dialogs == []


def test_a_reader_signs_in_and_out_in_a_browser(tmp_path):
    words = ["serve", "account", "add", "meier", "--data", str(tmp_path / "data")]
    assert CliRunner().invoke(app, words, input=PASSWORD).exit_code == 0
    with (
        chromium() as browser,
        running_page(tmp_path / "data", "--sign-in") as (address, _),
        opened(browser, address) as page,
    ):
        for password in ("a wrong password", PASSWORD):
            page.fill("[name=name]", "meier")
            page.fill("[name=password]", password)
            page.keyboard.press("Enter")
            if password != PASSWORD:
                page.get_by_text("Name and password do not fit.").wait_for()
        page.get_by_role("button", name="Sign out").click()
        page.wait_for_url("**/sign-in")
        page.locator("[name=password]").wait_for()

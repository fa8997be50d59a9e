"""OHIF shows our objects from an Orthanc: masks on their frames, pixel by pixel, and the SR."""

import contextlib
import io
import shutil

import numpy as np
import pydicom
import pytest
from PIL import Image

from dicom_makers import write_result, write_source
from echoseg.dicom.write import write_dicom
from ohif_viewer import ohif
from orthanc_server import orthanc

FRAME = 15
_WAIT_MS = 90_000
_ARGUMENTS = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader",
              "--enable-unsafe-swiftshader"]  # fmt: skip


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A page with the study, and the masks of its clip."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    chromium = shutil.which("chromium") or pytest.skip("needs Debian's package chromium")
    folder = tmp_path_factory.mktemp("viewer")
    masks = write_source(folder / "clip.dcm", num_frames=32, PatientID="PID-7")
    write_result(folder / "result", folder / "clip.dcm", masks)
    objects = write_dicom(folder / "result", folder / "clip.dcm")
    uid = pydicom.dcmread(folder / "clip.dcm").StudyInstanceUID
    with orthanc(folder / "orthanc") as server, ohif(server.dicomweb) as url:
        for file in (folder / "clip.dcm", *objects.glob("*.dcm")):
            server.send(file.read_bytes())
        with playwright.sync_playwright() as tool:
            browser = tool.chromium.launch(executable_path=chromium, args=_ARGUMENTS)
            page = browser.new_page(viewport={"width": 1500, "height": 900})
            page.goto(f"{url}/viewer?StudyInstanceUIDs={uid}")
            page.get_by_text("Skip all").click(timeout=_WAIT_MS)
            yield page, masks
            browser.close()


def _open(page, modality, shown):
    """Open a series, again where the page was not ready, until something is shown."""
    rows = page.locator('[data-cy="study-browser-thumbnail-no-image"]')
    rows.filter(has_text=modality).first.wait_for(timeout=_WAIT_MS)
    for _ in range(4):
        page.wait_for_timeout(3000)
        rows.filter(has_text=modality).first.dblclick(timeout=_WAIT_MS)
        with contextlib.suppress(Exception):
            return shown.first.wait_for(timeout=20_000)
    raise AssertionError(page.locator("body").inner_text())


def _shown_labels(page, shape):
    """The label at the middle of each pixel of the clip, by the color on the screen."""
    box = page.locator("canvas").first.bounding_box()
    shot = Image.open(io.BytesIO(page.screenshot(clip=box))).convert("RGB")
    pixels = np.asarray(shot, int)
    scale = min(box["height"] / shape[0], box["width"] / shape[1])
    rows, columns = ((np.arange(n) + 0.5) * scale for n in shape)
    rows += (box["height"] - shape[0] * scale) / 2
    columns += (box["width"] - shape[1] * scale) / 2
    colors = pixels[np.ix_(rows.astype(int), columns.astype(int))]
    is_colored = colors.max(-1) - colors.min(-1) > 40
    return np.where(is_colored, colors.argmax(-1) + 1, 0)  # red, green, blue: segments 1, 2, 3


def test_masks_are_on_their_frames_pixel_by_pixel(page):
    page, masks = page
    yes = page.get_by_text("Yes", exact=True)
    _open(page, "SEG", yes)
    yes.click()
    page.locator('[data-cy="cine-player-close"]').click(timeout=_WAIT_MS)
    page.mouse.move(900, 500)
    corner = page.locator('[data-cy="viewport-overlay-bottom-right"]')
    for number in range(2, FRAME + 1):
        page.mouse.wheel(0, 100)
        corner.filter(has_text=f"({number}/{len(masks)})").wait_for(timeout=_WAIT_MS)
    page.wait_for_timeout(3000)  # it draws after it says the number
    shown = _shown_labels(page, masks.shape[1:])
    equal = [(shown == mask).mean() for mask in masks]
    differs = [(mask != masks[FRAME - 1]).any() for mask in masks]
    assert equal[FRAME - 1] > 0.995
    others = [share for share, is_other in zip(equal, differs, strict=True) if is_other]
    assert max(others) < equal[FRAME - 1]


def test_the_report_shows_its_values_and_what_it_is_for(page):
    page, _ = page
    grid = page.locator('[data-cy="viewport-grid"]')
    _open(page, "SR", grid.get_by_text("Measurement Group"))
    text = grid.inner_text()
    assert "Left Ventricular Ejection Fraction" in text
    assert "Research use only, not a medical device" in text

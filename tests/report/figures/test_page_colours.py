"""The page in light and dark."""

import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image

from echoseg.clip import Clip
from echoseg.inference.analysis import analyze_masks
from echoseg.report.figures.curve import curve_png
from echoseg.report.figures.page import page_html
from echoseg.report.schema import build_report
from heart_makers import beating


def test_the_curve_takes_the_colour_of_the_page_in_light_and_dark(tmp_path):
    """Drawn by a browser where there is one: no white box on a dark page, none on a light one."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("no chromium to draw the page")
    masks, times, _ = beating(80, phase=0.5)
    analysis = analyze_masks(Clip(frames=60 * masks, times_s=times), masks)
    page = page_html(analysis, build_report(analysis), curve_png(analysis))
    (tmp_path / "page.html").write_text(page.replace("<h1>", "<h1 hidden>"), encoding="utf-8")
    for mode, paper in ((0, (15, 20, 26)), (1, (255, 255, 255))):
        picture = tmp_path / f"{mode}.png"
        command = [
            chromium, "--headless", "--no-sandbox", "--disable-gpu", "--window-size=1000,1400",
            f"--blink-settings=preferredColorScheme={mode}", f"--screenshot={picture}",
            f"--user-data-dir={tmp_path / 'profile'}", (tmp_path / "page.html").as_uri(),
        ]  # fmt: skip
        subprocess.run(command, capture_output=True, timeout=60, check=True)
        pixels = np.asarray(Image.open(picture).convert("RGB")).astype(int)
        left = pixels[200:, 24:490]  # the curve's column, beside the numbers
        orange = (left[..., 0] > left[..., 2] + 80).any(1)
        rows = np.flatnonzero(orange)
        inside = left[rows[0] : rows[-1]].reshape(-1, 3)
        share = (np.abs(inside - paper).max(1) <= 6).mean()
        assert share > 0.4, (mode, share)

"""Pictures of the page and of a report for docs/images, of the simulated clip.

    python scripts/page_pictures.py

Analyzes the clip that comes with the installation, serves it on a free port, and takes WebP
pictures in the system's Chromium. Needs the extra `page`, Playwright, and Debian's package
`chromium`.
"""

import argparse
import contextlib
import io
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image

from echoseg.cli.options import demo_clips

IMAGES = Path(__file__).parents[1] / "docs" / "images"
DESKTOP, PHONE = {"width": 1440, "height": 900}, {"width": 360, "height": 780}
SHEET = {"width": 1080, "height": 1500}
MAX_BYTES = 150_000
Shot = tuple[str, str, dict[str, Any]]


def main() -> None:
    """Take all pictures."""
    parser = argparse.ArgumentParser(description="Pictures of the page and of a report.")
    parser.add_argument("--out", type=Path, default=IMAGES, help="folder of the pictures")
    out = parser.parse_args().out
    clip = demo_clips()["simulated"]
    with tempfile.TemporaryDirectory() as folder:
        echoseg("analyze", clip, "-o", folder)
        (report,) = Path(folder).glob("**/report.html")
        phone = {"viewport": PHONE, "device_scale_factor": 2, "has_touch": True}
        take(out, [
            ("report-page", report.as_uri(), {"viewport": SHEET}),
            ("report-dark", report.as_uri(), {"viewport": SHEET, "color_scheme": "dark"}),
            ("report-phone", report.as_uri(), phone),
        ])  # fmt: skip
        with served(clip, Path(folder) / "page") as address:
            take(out, [
                ("page-reader", address, {"viewport": DESKTOP}),
                ("page-phone", address, phone | {"color_scheme": "dark"}),
            ])  # fmt: skip


def echoseg(*words: object) -> None:
    """Run a command of echoseg."""
    subprocess.run([sys.executable, "-m", "echoseg", *map(str, words)], check=True)


@contextlib.contextmanager
def served(clip: Path, folder: Path) -> Iterator[str]:
    """Address of a page with one clip, on a free port."""
    words = ["serve", clip, "--data", folder, "--port", "0", "--no-browser"]
    command = [sys.executable, "-m", "echoseg", *map(str, words)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        match = re.search(r"http://\S+", server.stdout.readline())
        assert match, "the page did not start"
        try:
            yield match[0]
        finally:
            server.terminate()


@contextlib.contextmanager
def chromium() -> Iterator[Any]:
    """The system's Chromium, by Playwright."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as tool:
        path = shutil.which("chromium") or sys.exit("Chromium is not installed")
        browser = tool.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


def take(out: Path, shots: list[Shot]) -> None:
    """Take pictures of pages: of a report, or of the first clip of a worklist.

    Args:
        out: Where `NAME.webp` is written.
        shots: (name, address, options of the browser's context) each.
    """
    with chromium() as browser:
        for name, address, options in shots:
            page = browser.new_context(reduced_motion="reduce", **options).new_page()
            page.goto(address)
            if address.startswith("http"):
                open_first(page, address)
            page.wait_for_timeout(2000)
            save(out / f"{name}.webp", page.screenshot())


def open_first(page: Any, address: str) -> None:
    """Open the first clip of a worklist, once it is analyzed."""
    page.goto(f"{address}clip/{first_ready(page, address)}")
    page.locator(".headline").first.wait_for(timeout=60_000)


def first_ready(page: Any, address: str) -> str:
    """Id of the first clip of a worklist, once it is analyzed."""
    while not (rows := page.request.get(f"{address}api/clips?state=ready").json()["rows"]):
        page.wait_for_timeout(1000)
    return rows[0]["id"]


def save(path: Path, png: bytes) -> None:
    """Write a picture as WebP of less than 150 kB."""
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    picture.thumbnail((1440, 1600))
    for quality in (88, 80, 70, 55):
        picture.save(path, "WEBP", quality=quality, method=6)
        if path.stat().st_size < MAX_BYTES:
            break
    print(path, path.stat().st_size, picture.size)


if __name__ == "__main__":
    main()

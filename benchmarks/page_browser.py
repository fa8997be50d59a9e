"""How soon does the page show something, does a clip play at its rate, how fast are edits?

    python benchmarks/page_browser.py CLIP [--seconds 10] [--edits 20] [--folder FOLDER]

Starts `echoseg serve` on the clip in a new folder, waits until it is measured, and opens the pages
in the system's Chromium, each five times with an empty cache. Prints JSON; asserts nothing.

First paint is Chromium's first-contentful-paint. The first contour is on the screen with its
picture. While the clip plays, the frame that is shown is compared with the one that is due at each
repaint of the screen. An edit is a control point of the LV that is dragged by 4 pixels of the page;
its time is that from the request to the answer that is drawn.
"""

import argparse
import itertools
import json
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

from speed import machine

VISITS = 5
_WAIT_MS = 600_000
_PAINT = "performance.getEntriesByName('first-contentful-paint')[0].startTime"
_PLAY = """(seconds) => new Promise((resolve) => {
  const pane = document.querySelector(".pane");
  const samples = [];
  const begin = performance.now();
  const sample = (now) => {
    samples.push([now - begin, Number(pane.dataset.frame)]);
    if (now - begin < 1000 * seconds) requestAnimationFrame(sample);
    else { document.querySelector(".play").click(); resolve(samples); }
  };
  document.querySelector(".play").click();
  requestAnimationFrame(sample);
})"""


def _visit(browser: Browser, url: str, ready: str) -> tuple[float, float]:
    """First paint and first contour (0 without a clip) of a page, in ms."""
    page = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
    page.goto(url)
    page.locator(ready).first.wait_for(timeout=_WAIT_MS)
    paint = float(page.evaluate(_PAINT))
    contour = page.evaluate("Number(document.querySelector('.pane')?.dataset.firstContourMs ?? 0)")
    page.context.close()
    return paint, float(contour)


def _play(page: Page, seconds: float, rate_hz: float, num_frames: int) -> dict[str, Any]:
    """How the clip plays: frames shown per second, of those that were due."""
    page.locator('.pane[data-ready="all"]').wait_for(timeout=_WAIT_MS)
    samples = page.evaluate(_PLAY, seconds)
    num_changes = sum(b[1] != a[1] for a, b in itertools.pairwise(samples))
    begin = samples[0][0] - 1000 * samples[0][1] / rate_hz
    late = [
        (int((now - begin) * rate_hz / 1000) - frame) % num_frames for now, frame in samples[5:]
    ]
    return {
        "clip_rate_hz": round(rate_hz, 2),
        "shown_per_s": round(num_changes / seconds, 2),
        "screen_hz": round(len(samples) / seconds, 1),
        "samples_late_by_2_frames_or_more": sum(2 <= by < num_frames / 2 for by in late),
        "samples": len(samples),
    }


def _edit(page: Page, count: int) -> dict[str, float]:
    """Times of edits, in ms."""
    page.keyboard.press("p")
    times = []
    pane = page.locator(".pane")
    for i in range(count):
        box = page.locator('.handle[data-kind=""]').nth(i % 4).bounding_box()
        assert box
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        revision = pane.get_attribute("data-revision")
        page.mouse.move(x, y)
        page.mouse.down()
        page.mouse.move(x + 4, y, steps=3)
        page.mouse.up()
        page.locator(f'.pane[data-waiting="0"]:not([data-revision="{revision}"])').wait_for()
        times.append(float(pane.get_attribute("data-round-trip-ms") or 0))
    return {
        "edits": count,
        "median_ms": statistics.median(times),
        "p95_ms": statistics.quantiles(times, n=20)[-1],
        "max_ms": max(times),
    }


def _measure(url: str, seconds: float, edits: int) -> dict[str, Any]:
    """All measurements of a server that holds one clip."""
    chromium = shutil.which("chromium")
    with sync_playwright() as tool:
        browser = tool.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.goto(url)
        page.locator("#rows tr.ready").wait_for(timeout=_WAIT_MS)
        clip = page.locator("#rows tr").get_attribute("data-id")
        detail = page.evaluate("(id) => fetch(`/api/clips/${id}`).then((r) => r.json())", clip)
        lists = [_visit(browser, url, "#rows tr") for _ in range(VISITS)]
        readers = [_visit(browser, f"{url}clip/{clip}", "#ef") for _ in range(VISITS)]
        page.goto(f"{url}clip/{clip}")
        playing = _play(page, seconds, detail["frame_rate_hz"] or 30.0, detail["num_frames"])
        edited = _edit(page, edits)
        browser.close()
    return {
        "clip": {key: detail[key] for key in ("columns", "rows", "num_frames")},
        "worklist_first_paint_ms": sorted(round(paint) for paint, _ in lists),
        "reader_first_paint_ms": sorted(round(paint) for paint, _ in readers),
        "reader_first_contour_ms": sorted(round(contour) for _, contour in readers),
        "playback": playing,
        "edits": edited,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Times of the page in a browser.")
    parser.add_argument("clip", type=Path)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--edits", type=int, default=20)
    parser.add_argument("--folder", type=Path, help="Where the server keeps its data.")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data = options.folder or Path(folder) / "page"
        words = ["serve", str(options.clip), "--data", str(data), "--port", "0", "--no-browser"]
        server = subprocess.Popen(
            [sys.executable, "-m", "echoseg", *words], stdout=subprocess.PIPE, text=True
        )
        try:
            assert server.stdout
            url = re.search(r"https?://\S+", server.stdout.readline())
            assert url, "the server did not start"
            result = _measure(url[0], options.seconds, options.edits)
        finally:
            server.terminate()
            server.wait(60)
    print(json.dumps({"machine": machine(), **result}, indent=1))


if __name__ == "__main__":
    main()

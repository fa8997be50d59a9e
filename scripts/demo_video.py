"""Make the 30-second video of the front page, and its short animation for the README.

    python -m scripts.demo_video

A simulated clip from its frames to masks, volume curve and EF; then a contour is dragged on the
real page, in the system's Chromium, and the real report is scrolled. Writes `demo.mp4` (H.264) and
`demo.webp` into docs/images. Needs the extra `page`, Playwright, and Debian's package `chromium`.
"""

import argparse
import io
import math
import tempfile
from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any

import av
import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

import echoseg
from echoseg.cli.options import demo_clips
from scripts.page_pictures import IMAGES, chromium, open_first, served

SIZE, STRIP = (960, 540), 60
STAGE = (SIZE[0], SIZE[1] - STRIP)
RATE_HZ, NUM_FRAMES = 20, 600
MAX_VIDEO_BYTES, MAX_ANIMATION_BYTES = 2_000_000, 1_000_000
DISCLAIMER = "Research software, not a medical device"
GROUND, PANEL, WHITE, GREY = (15, 20, 27), (27, 34, 44), (240, 243, 247), (160, 170, 182)
COLORS = {
    echoseg.Label.LV_CAVITY: (245, 133, 63),
    echoseg.Label.LV_MYOCARDIUM: (92, 184, 92),
    echoseg.Label.LA_CAVITY: (90, 150, 230),
}
LEGEND = ("cavity of the left ventricle", "its wall", "left atrium")
PAGE = {"width": 1440, "height": 900}
PAGE_PART = {"x": 0, "y": 0, "width": 1440, "height": 720}
DRAGS = ((2, (34, 6)), (4, (-26, 8)))
"""Control point of the contour, and the way of the mouse in pixels of the page."""
STEPS = 22


@lru_cache
def font(size_px: int, weight: str = "") -> ImageFont.FreeTypeFont:
    """DejaVu, which comes with matplotlib."""
    name = f"fonts/ttf/DejaVuSans{weight}.ttf"
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / name), size_px)


def main() -> None:
    """Analyze the clip, record the page, write both files."""
    parser = argparse.ArgumentParser(description="The video of the front page.")
    parser.add_argument("--out", type=Path, default=IMAGES, help="folder of both files")
    out = parser.parse_args().out
    clip = demo_clips()["simulated"]
    with tempfile.TemporaryDirectory() as folder:
        result = echoseg.analyze(clip)
        report = result.save(Path(folder) / "result") / "report.html"
        pictures = [*heart_scenes(result), *page_scene(clip, Path(folder)), *report_scene(report)]
    pictures += [end_card()] * (NUM_FRAMES - len(pictures))
    write_video(out / "demo.mp4", pictures)
    write_animation(out / "demo.webp", pictures)


def framed(stage: Image.Image, caption: str) -> Image.Image:
    """A frame of the video: the stage, and a strip with caption and disclaimer."""
    picture = Image.new("RGB", SIZE, GROUND)
    picture.paste(stage, (0, 0))
    draw = ImageDraw.Draw(picture)
    middle = STAGE[1] + STRIP / 2
    draw.text((24, middle), caption, WHITE, font(20), anchor="lm")
    draw.text((SIZE[0] - 24, middle), DISCLAIMER, GREY, font(13), anchor="rm")
    return picture


def heart_scenes(result: echoseg.Analysis) -> Iterator[Image.Image]:
    """The clip, the clip with masks, the curve that it draws, the EF."""
    captions = (
        "A four-chamber clip",
        "Cavity, wall and atrium, frame after frame",
        "Their volume over time",
        "Ejection fraction, with its interval",
    )
    num_frames = result.clip.num_frames
    for index in range(320):
        scene = 0 if index < 80 else 1 if index < 160 else 2 if index < 260 else 3
        stage = Image.new("RGB", STAGE, GROUND)
        frame = index % num_frames
        stage.paste(heart(result, frame, opacity=min(max(index - 80, 0) / 12, 1)), (0, 0))
        draw = ImageDraw.Draw(stage)
        if scene == 0:
            lines = "A heart that was simulated:", "its true EF is 60 %"
            for row, text in enumerate(lines):
                draw.text((516, 210 + 34 * row), text, WHITE, font(22), anchor="lm")
        else:
            draw_legend(draw, 516, 60)
        if scene >= 2:
            end = (
                num_frames if scene == 3 else min((index - 160) * num_frames // 90 + 1, num_frames)
            )
            draw_curve(draw, result, end, frame if scene == 3 else end - 1)
            if scene == 2:  # in step with the curve
                stage.paste(heart(result, end - 1), (0, 0))
        if scene == 3:
            draw.text((510, 404), result.ef.text, WHITE, font(46, "-Bold"), anchor="lm")
            interval = result.ef.detail.split(";")[0]
            draw.text((512, 450), interval, GREY, font(20), anchor="lm")
        yield framed(stage, captions[scene])


def heart(result: echoseg.Analysis, index: int, *, opacity: float = 1.0) -> Image.Image:
    """A frame of the clip with its masks, as a square."""
    grey = np.repeat(result.clip.frames[index][..., None], 3, -1).astype(np.float32)
    for label, color in COLORS.items():
        inside = result.masks[index] == label
        grey[inside] += 0.42 * opacity * (np.array(color, np.float32) - grey[inside])
    picture = Image.fromarray(grey.round().astype(np.uint8))
    return picture.resize((STAGE[1], STAGE[1]), Image.Resampling.BICUBIC)


def draw_legend(draw: ImageDraw.ImageDraw, x: int, y: int) -> None:
    """The colors of the structures."""
    for row, (color, text) in enumerate(zip(COLORS.values(), LEGEND, strict=True)):
        at = y + 32 * row
        draw.rounded_rectangle((x, at - 9, x + 18, at + 9), 4, color)
        draw.text((x + 30, at), text, WHITE, font(18), anchor="lm")


def draw_curve(draw: ImageDraw.ImageDraw, result: echoseg.Analysis, end: int, current: int) -> None:
    """The volume curve up to a frame, with ED and ES of the beats that are over."""
    left, top, right, bottom = 516, 170, 930, 350
    draw.rounded_rectangle((left - 6, top - 14, right + 10, bottom + 14), 8, PANEL)
    volumes = [frame.smoothed_volume or 0.0 for frame in result.measurement.frames]
    high = max(volumes) * 1.12
    points = [
        (left + 44 + (right - left - 54) * i / (len(volumes) - 1), bottom - 180 * v / high)
        for i, v in enumerate(volumes)
    ]
    for value in (0, 20, 40, 60):
        y = bottom - 180 * value / high
        draw.line((left + 40, y, right, y), (52, 62, 76))
        draw.text((left + 34, y), str(value), GREY, font(13), anchor="rm")
    draw.text((right, top - 2), "volume, ml", GREY, font(13), anchor="rm")
    if end > 1:
        draw.line(points[:end], COLORS[echoseg.Label.LV_CAVITY], 3, joint="curve")
    for beat in result.measurement.beats:
        for name, index, above in (("ED", beat.ed_frame, -16), ("ES", beat.es_frame, 16)):
            if index < end:
                x, y = points[index]
                draw.ellipse((x - 5, y - 5, x + 5, y + 5), WHITE)
                draw.text((x, y + above), name, WHITE, font(13), anchor="mm")
    x, _ = points[current]
    draw.line((x, top + 8, x, bottom), GREY)


def page_scene(clip: Path, folder: Path) -> Iterator[Image.Image]:
    """Contours dragged on the page; each picture is a screenshot of it."""
    with served(clip, folder / "page") as address, chromium() as browser:
        page = browser.new_context(viewport=PAGE, reduced_motion="reduce").new_page()
        page.set_default_timeout(300_000)
        page.goto(address)
        open_first(page, address)
        page.get_by_role("button", name="Go to end of diastole").click()
        page.keyboard.press("p")
        page.mouse.move(1300, 700)
        page.wait_for_timeout(1500)
        yield from [screenshot(page, "Wrong? Open it in the browser,")] * 24
        for number, (index, way) in enumerate(DRAGS, 1):
            for at in drag(page, index, way):
                picture = screenshot(page, "drag the contour,", at)
                yield from [picture] * 2
            page.locator(f'.pane[data-revision="{number}"][data-waiting="0"]').wait_for()
            page.wait_for_timeout(700)
            yield from [screenshot(page, "and the numbers follow.")] * 22


def drag(page: Any, index: int, way: tuple[int, int]) -> Iterator[tuple[float, float]]:
    """Drag a control point step by step; yields where the mouse is."""
    box = page.locator('.handle[data-kind=""]').nth(index).bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    for step in range(STEPS):
        part = (1 - math.cos(math.pi * (step + 1) / STEPS)) / 2
        at = x + part * way[0], y + part * way[1]
        page.mouse.move(*at)
        page.wait_for_timeout(60)
        yield at
    page.mouse.up()


def screenshot(page: Any, caption: str, mouse: tuple[float, float] | None = None) -> Image.Image:
    """The page as it is, with a ring where the mouse is."""
    picture = Image.open(io.BytesIO(page.screenshot(clip=PAGE_PART))).convert("RGB")
    if mouse is not None:
        x, y = mouse
        ImageDraw.Draw(picture).ellipse((x - 16, y - 16, x + 16, y + 16), outline=WHITE, width=3)
    return framed(picture.resize(STAGE, Image.Resampling.LANCZOS), caption)


def report_scene(report: Path) -> Iterator[Image.Image]:
    """The report, scrolled."""
    with chromium() as browser:
        page = browser.new_context(viewport={"width": 1080, "height": 540}).new_page()
        page.goto(report.as_uri())
        page.wait_for_timeout(1500)
        sheet = Image.open(io.BytesIO(page.screenshot(full_page=True))).convert("RGB")
    sheet = sheet.resize((SIZE[0], sheet.height * SIZE[0] // sheet.width), Image.Resampling.LANCZOS)
    way = min(sheet.height - STAGE[1], 1150)
    for index in range(76):
        part = (1 - math.cos(math.pi * min(max(index - 16, 0) / 50, 1))) / 2
        top = round(part * way)
        stage = sheet.crop((0, top, SIZE[0], top + STAGE[1]))
        yield framed(stage, "A report; tables, masks, DICOM beside it")


def end_card() -> Image.Image:
    """The last picture: what to type."""
    stage = Image.new("RGB", STAGE, GROUND)
    draw = ImageDraw.Draw(stage)
    draw.text((480, 200), "echoseg", WHITE, font(56, "-Bold"), anchor="mm")
    draw.text((480, 290), "echoseg demo", WHITE, font(26, "-Bold"), anchor="mm")
    draw.text((480, 326), "analyzes this heart, and a real clip", GREY, font(19), anchor="mm")
    return framed(stage, "On a plain CPU, without a network")


def write_video(path: Path, pictures: Sequence[Image.Image]) -> None:
    """Write H.264 that browsers play while it loads."""
    with av.open(str(path), "w", options={"movflags": "+faststart"}) as file:
        stream = file.add_stream("libx264", rate=Fraction(RATE_HZ))
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        stream.options = {"crf": "27", "preset": "slow", "tune": "animation"}
        for picture in pictures:
            file.mux(stream.encode(av.VideoFrame.from_image(picture)))
        file.mux(stream.encode())
    finish(path, MAX_VIDEO_BYTES)


def write_animation(path: Path, pictures: Sequence[Image.Image]) -> None:
    """Write every fourth frame, small, as an endless WebP."""
    size = (600, 600 * SIZE[1] // SIZE[0])
    first, *rest = (picture.resize(size, Image.Resampling.LANCZOS) for picture in pictures[::4])
    for quality in (50, 35, 20):
        first.save(
            path,
            save_all=True,
            append_images=rest,
            duration=4000 // RATE_HZ,
            loop=0,
            quality=quality,
            method=4,
        )
        if path.stat().st_size < MAX_ANIMATION_BYTES:
            break
    finish(path, MAX_ANIMATION_BYTES)


def finish(path: Path, max_bytes: int) -> None:
    """Say how large a file is, and end where it is too large."""
    size_bytes = path.stat().st_size
    print(path, size_bytes)
    if size_bytes > max_bytes:
        raise SystemExit(f"{path} has {size_bytes} bytes, more than {max_bytes}")


if __name__ == "__main__":
    main()

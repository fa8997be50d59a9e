"""The clip with its contours, and the volume curve growing under it.

Drawn with Pillow: static parts once, then one copy a frame, so that a clip of 30 frames takes
about a second.
"""

from collections.abc import Iterator

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from skimage.measure import find_contours

from echoseg.analysis import Analysis
from echoseg.report import DISCLAIMER
from echoseg.show.colours import CONTOURS, ED_COLOUR, ES_COLOUR

_LEAST_HEIGHT_PX, _MOST_HEIGHT_PX = 480, 960
_CURVE_HEIGHT_PX = 190
_LEAST_WIDTH_PX = 560
_BACKGROUND, _TEXT, _DIM = (14, 17, 22), (235, 238, 242), (140, 148, 160)


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _zoom(analysis: Analysis) -> float:
    rows, columns = analysis.clip.size
    zoom = max(1.0, _LEAST_HEIGHT_PX / rows, _LEAST_WIDTH_PX / columns)
    return min(zoom, _MOST_HEIGHT_PX / rows)


def draw_contours(picture: Image.Image, mask: np.ndarray, zoom: float) -> None:
    """Draw the borders of one label map `H W` on its picture, enlarged by `zoom`."""
    draw = ImageDraw.Draw(picture)
    for labels, colour in CONTOURS.values():
        region = np.isin(mask, labels)
        rows, columns = np.nonzero(region)
        if not rows.size:
            continue
        top, left = rows.min() - 1, columns.min() - 1
        crop = np.pad(region[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1], 1)
        for contour in find_contours(crop.astype(float), 0.5):
            points = [
                ((x + left + 0.5) * zoom, (y + top + 0.5) * zoom) for y, x in _smoothed(contour)
            ]
            if len(points) > 3:
                draw.line([*points, points[0]], fill=colour, width=2, joint="curve")


def _smoothed(contour: np.ndarray) -> np.ndarray:
    """Return a closed contour averaged over five points: pixel stairs go, the shape stays."""
    closed = contour[:-1] if len(contour) > 1 and (contour[0] == contour[-1]).all() else contour
    if len(closed) < 8:
        return closed
    return np.mean([np.roll(closed, shift, 0) for shift in range(-2, 3)], 0)


def frame_picture(analysis: Analysis, frame_index: int, *, contours: bool = True) -> Image.Image:
    """Return one frame, enlarged, with its contours, as RGB."""
    zoom = _zoom(analysis)
    rows, columns = analysis.clip.size
    picture = Image.fromarray(analysis.clip.frames[frame_index]).convert("RGB")
    picture = picture.resize((round(columns * zoom), round(rows * zoom)), Image.Resampling.BICUBIC)
    if contours:
        draw_contours(picture, analysis.masks[frame_index], zoom)
    return picture


class _Curve:
    """Where each frame's volume lies in the panel under the picture."""

    def __init__(self, analysis: Analysis, width: int) -> None:
        frames = analysis.measurement.frames
        self.scaled = any(frame.volume_ml is not None for frame in frames)
        self.values = [f.volume_ml if self.scaled else f.relative_volume for f in frames]
        known = [value for value in self.values if value is not None]
        self.top = max(known, default=1.0) * 1.1 or 1.0
        times = analysis.clip.times_s
        self.times = np.arange(len(frames)) if times is None else times
        self.left, self.right = 58, width - 16
        self.low, self.high = _CURVE_HEIGHT_PX - 46, 34

    def point(self, index: int) -> tuple[float, float] | None:
        """Return (x, y) in the panel; None where the frame has no volume."""
        value = self.values[index]
        if value is None:
            return None
        span = max(float(self.times[-1] - self.times[0]), 1e-9)
        x = self.left + (self.right - self.left) * float(self.times[index] - self.times[0]) / span
        return x, self.low - (self.low - self.high) * value / self.top


def _panel(analysis: Analysis, curve: _Curve, width: int) -> Image.Image:
    """Return the static part of the panel: axes, faint whole curve, numbers, disclaimer."""
    panel = Image.new("RGB", (width, _CURVE_HEIGHT_PX), _BACKGROUND)
    draw = ImageDraw.Draw(panel)
    found = analysis.measurement
    title = "LV volume (ml)" if curve.scaled else "relative LV volume (no scale)"
    draw.text((10, 8), title, fill=_DIM, font=_font(14))
    ef = "no EF" if found.ef_percent is None else f"EF {found.ef_percent:.0f} %"
    draw.text((width - 12, 6), ef, fill=_TEXT, font=_font(19), anchor="ra")
    for share in (0.0, 0.5, 1.0):
        value = share * curve.top / 1.1
        y = curve.low - (curve.low - curve.high) * share / 1.1
        draw.line([(curve.left, y), (curve.right, y)], fill=(38, 44, 54))
        text = f"{value:.0f}" if curve.scaled else f"{value:.1f}"
        draw.text((curve.left - 8, y), text, fill=_DIM, font=_font(12), anchor="rm")
    whole = [p for p in map(curve.point, range(len(curve.values))) if p is not None]
    if len(whole) > 1:
        draw.line(whole, fill=(62, 70, 84), width=1)
    draw.text((10, _CURVE_HEIGHT_PX - 24), DISCLAIMER, fill=_TEXT, font=_font(14))
    draw.text((width - 12, _CURVE_HEIGHT_PX - 24), "time", fill=_DIM, font=_font(13), anchor="ra")
    return panel


def _marks(analysis: Analysis) -> list[tuple[int, str, tuple[int, int, int]]]:
    found = analysis.measurement
    marks = [(found.ed_frame, "ED", ED_COLOUR), (found.es_frame, "ES", ES_COLOUR)]
    return [(frame, name, colour) for frame, name, colour in marks if frame is not None]


def _draw_now(panel: Image.Image, analysis: Analysis, curve: _Curve, now: int) -> None:
    """Draw what has been seen so far: the curve up to this frame, ED and ES when passed."""
    draw = ImageDraw.Draw(panel)
    seen = [p for p in map(curve.point, range(now + 1)) if p is not None]
    if len(seen) > 1:
        draw.line(seen, fill=CONTOURS["LV"][1], width=3, joint="curve")
    for frame, name, colour in _marks(analysis):
        point = curve.point(frame)
        if point is not None and frame <= now:
            x, y = point
            draw.ellipse([x - 5, y - 5, x + 5, y + 5], fill=colour)
            draw.text((x, y + 8), name, fill=colour, font=_font(13), anchor="ma")
    if seen and curve.values[now] is not None:
        x, y = seen[-1]
        draw.ellipse([x - 3, y - 3, x + 3, y + 3], fill=_TEXT)


def _draw_labels(picture: Image.Image, analysis: Analysis, now: int) -> None:
    """Write the legend, the frame's number and time, and a badge on ED and ES."""
    draw = ImageDraw.Draw(picture)
    bottom = picture.height - 22
    x = 10
    for name in ("LV", "myocardium", "LA"):
        draw.text((x, bottom), name, fill=CONTOURS[name][1], font=_font(14),
                  stroke_width=2, stroke_fill=(0, 0, 0))  # fmt: skip
        x += 14 + draw.textlength(name, font=_font(14))
    time_s = analysis.measurement.frames[now].time_s
    text = f"frame {now}" + ("" if time_s is None else f"   {time_s:.2f} s")
    draw.text((picture.width - 12, bottom), text, fill=_TEXT, font=_font(14), anchor="ra",
              stroke_width=2, stroke_fill=(0, 0, 0))  # fmt: skip
    for frame, name, colour in _marks(analysis):
        if frame == now:
            right = picture.width - 12
            draw.rounded_rectangle([right - 62, 12, right, 50], 8, fill=colour)
            draw.text((right - 31, 31), name, fill=(20, 20, 20), font=_font(24), anchor="mm")


def overlay_frames(analysis: Analysis) -> Iterator[np.ndarray]:
    """Yield the overlay's frames, `H W 3` uint8 RGB, one a frame of the clip."""
    first = frame_picture(analysis, 0, contours=False)
    width = first.width
    curve = _Curve(analysis, width)
    still = _panel(analysis, curve, width)
    for now in range(analysis.clip.num_frames):
        canvas = Image.new("RGB", (width, first.height + _CURVE_HEIGHT_PX), _BACKGROUND)
        picture = frame_picture(analysis, now)
        _draw_labels(picture, analysis, now)
        panel = still.copy()
        _draw_now(panel, analysis, curve, now)
        canvas.paste(picture, (0, 0))
        canvas.paste(panel, (0, first.height))
        yield np.asarray(canvas)

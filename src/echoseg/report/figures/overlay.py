"""The overlay video: the clip with its contours, and the volume curve growing below it.

Drawn with Pillow: static parts once, then one copy per frame, so a clip of 30 frames takes about a
second.
"""

from collections.abc import Iterator
from io import BytesIO
from itertools import groupby
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps
from skimage.measure import find_contours

from echoseg.box import region_box
from echoseg.clip import Label
from echoseg.frame_store import release
from echoseg.inference.analysis import Analysis
from echoseg.measure.geometry import disk_lines_mm, long_axis, mask_contour_mm
from echoseg.report.figures.colours import AXIS_COLOUR, CONTOURS, DISK_COLOUR, ED_COLOUR, ES_COLOUR
from echoseg.report.figures.curve import curve_values, phase_marks
from echoseg.report.html import plain_words
from echoseg.report.schema import DISCLAIMER

_MIN_HEIGHT_PX, _MAX_HEIGHT_PX = 480, 960
_MIN_WIDTH_PX = 560
_UNIT_WIDTH_PX = 640
"""Width for which sizes are given; fonts and lines scale with a wider picture."""
_PANEL_HEIGHT, _PLAYER_BAR = 322, 60
"""The lowest part of the panel stays empty: a browser's player lays its bar over it."""
_SUPERSAMPLING = 3
CAPTION_PX = 22
"""Height of the caption above a tile."""
_RELEASE_FRAMES = 16
_LINE_PX, _THIN_PX = 1.7, 1.0
_BACKGROUND, _TEXT, _DIM = (14, 17, 22), (235, 238, 242), (140, 148, 160)


def _unit(width: int) -> float:
    """Scale of fonts and lines, 1 for a picture 640 pixels wide."""
    return max(1.0, width / _UNIT_WIDTH_PX)


def _zoom(analysis: Analysis) -> float:
    rows, columns = analysis.clip.size
    zoom = max(1.0, _MIN_HEIGHT_PX / rows, _MIN_WIDTH_PX / columns)
    return min(zoom, _MAX_HEIGHT_PX / rows)


def draw_contours(picture: Image.Image, mask: np.ndarray, zoom: float) -> None:
    """Draw the borders of one label map `(H, W)` on its picture, enlarged by `zoom`.

    Lines are drawn three times too large and reduced, since Pillow does not anti-alias them.
    """
    top, left = region_box(mask)
    heart = mask[top, left]
    for labels, colour in CONTOURS.values():
        region = np.isin(heart, labels)
        rows, columns = region_box(region)
        corner = np.array([top.start + rows.start, left.start + columns.start])
        # half a pixel less, which undoes the pad, to pixel edges
        for contour in find_contours(np.pad(region[rows, columns], 1).astype(float), 0.5):
            if len(contour) > 4:
                closed = (_smoothed(contour) + corner - 0.5) * zoom
                _draw_line(picture, np.concatenate([closed, closed[:2]]), colour)


def _draw_line(
    picture: Image.Image, points: np.ndarray, colour: tuple[int, int, int], width: float = _LINE_PX
) -> None:
    """Draw a line through (y, x) points in picture pixels, anti-aliased."""
    (top, left), (bottom, right) = np.floor(points.min(0)) - 3, np.ceil(points.max(0)) + 3
    size = (int(right - left) * _SUPERSAMPLING, int(bottom - top) * _SUPERSAMPLING)
    layer = Image.new("L", size)
    line = ((points - (top, left))[:, ::-1] * _SUPERSAMPLING).ravel().tolist()
    width_px = round(width * _unit(picture.width) * _SUPERSAMPLING)
    ImageDraw.Draw(layer).line(line, fill=255, width=width_px, joint="curve")
    picture.paste(colour, (int(left), int(top)), layer.reduce(_SUPERSAMPLING))


def draw_disks(
    picture: Image.Image, mask: np.ndarray, zoom: float, spacing_mm: tuple[float, float]
) -> None:
    """Draw the long axis and the disks that a label map's `(H, W)` volume is the sum of."""
    cavity = mask == Label.LV_CAVITY
    if not cavity.any():
        return
    axis = long_axis(mask, spacing_mm)
    disks = disk_lines_mm(mask_contour_mm(cavity, spacing_mm), axis)
    lines = [(line, DISK_COLOUR) for line in disks]
    lines += [(axis.hinges_mm, AXIS_COLOUR)]
    lines += [(np.stack([axis.annulus_mid_mm, axis.apex_mm]), AXIS_COLOUR)]
    for points, colour in lines:
        pixels = points[:, ::-1] / np.asarray(spacing_mm)
        _draw_line(picture, (pixels + 0.5) * zoom, colour, _THIN_PX)


def _smoothed(contour: np.ndarray) -> np.ndarray:
    """A closed contour averaged over five points, which removes pixel stairs."""
    closed = contour[:-1] if len(contour) > 1 and (contour[0] == contour[-1]).all() else contour
    if len(closed) < 8:
        return closed
    return np.mean([np.roll(closed, shift, 0) for shift in range(-2, 3)], 0)


def frame_picture(analysis: Analysis, frame_index: int, *, disks: bool = False) -> Image.Image:
    """One frame, enlarged, with its contours, and with `disks` those too, as RGB; in its colors."""
    zoom = _zoom(analysis)
    rows, columns = analysis.clip.size
    jpeg = analysis.clip.jpeg(frame_index)
    frame = Image.fromarray(analysis.clip.frames[frame_index])
    picture = (frame if jpeg is None else Image.open(BytesIO(jpeg))).convert("RGB")
    picture = picture.resize((round(columns * zoom), round(rows * zoom)), Image.Resampling.BICUBIC)
    if disks:
        spacing_mm = analysis.measurement.spacing_mm or (1.0, 1.0)
        draw_disks(picture, analysis.masks[frame_index], zoom, spacing_mm)
    draw_contours(picture, analysis.masks[frame_index], zoom)
    return picture


def captioned_tile(
    picture: Image.Image, mask: np.ndarray | None, caption: str, size_px: int
) -> Image.Image:
    """A picture with its contours, letterboxed into a square of `size_px` under a caption."""
    tile = Image.new("RGB", (size_px, size_px + CAPTION_PX))
    ImageDraw.Draw(tile).text((4, 3), caption, fill=_TEXT, font=ImageFont.load_default(12))
    fitted = ImageOps.contain(picture.convert("RGB"), (size_px, size_px))
    if mask is not None:
        draw_contours(fitted, mask, fitted.width / mask.shape[1])
    left, top = (size_px - fitted.width) // 2, (size_px - fitted.height) // 2
    tile.paste(fitted, (left, top + CAPTION_PX))
    return tile


class _Curve:
    """Layout of the volume curve in the panel below the picture."""

    def __init__(self, analysis: Analysis, width: int) -> None:
        frames = analysis.measurement.frames
        self.scaled = analysis.measurement.spacing_mm is not None
        of_frames, curve = curve_values(analysis.measurement)
        self.values = [float(value) if np.isfinite(value) else None for value in curve]
        known = np.concatenate([of_frames, curve])
        known = known[np.isfinite(known)]
        self.is_empty = not known.size
        self.top = float(known.max(initial=0.0)) * 1.1 or 1.1
        times = analysis.clip.times_s
        self.times = np.arange(len(frames)) if times is None else times
        self.width, self.unit = width, _unit(width)
        self.height = round(_PANEL_HEIGHT * self.unit)
        self.left, self.right = 58 * self.unit, width - 16 * self.unit
        self.low, self.high = self.height - (30 + _PLAYER_BAR) * self.unit, 116 * self.unit

    def font(self, size: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
        """The font that is `size` pixels high in a panel 640 pixels wide."""
        return ImageFont.load_default(round(size * self.unit))

    def point(self, index: int) -> tuple[float, float] | None:
        """(x, y) of a frame in the panel; None where it has no volume."""
        value = self.values[index]
        if value is None:
            return None
        span = max(float(self.times[-1] - self.times[0]), 1e-9)
        x = self.left + (self.right - self.left) * float(self.times[index] - self.times[0]) / span
        return x, self.low - (self.low - self.high) * value / self.top

    def pieces(self, stop: int) -> list[list[tuple[float, float]]]:
        """The line up to frame `stop`, broken where frames have no volume."""
        groups = groupby(map(self.point, range(stop)), key=lambda point: point is not None)
        pieces = [[point for point in group if point] for known, group in groups if known]
        return [piece for piece in pieces if len(piece) > 1]


def _panel(analysis: Analysis, curve: _Curve) -> Image.Image:
    """The static part of the panel: legend, disclaimer, EF, axes, faint curve."""
    unit, right = curve.unit, curve.width - 12 * curve.unit
    panel = Image.new("RGB", (curve.width, curve.height), _BACKGROUND)
    draw = ImageDraw.Draw(panel)
    x = 10 * unit
    for name in ("LV", "myocardium", "LA"):
        draw.text((x, 8 * unit), name, fill=CONTOURS[name][1], font=curve.font(14))
        x += 14 * unit + draw.textlength(name, font=curve.font(14))
    draw.text((10 * unit, 32 * unit), DISCLAIMER, fill=_TEXT, font=curve.font(14))
    ef = analysis.ef
    fill = _TEXT if ef.kind == "plain" else ED_COLOUR
    draw.text((right, 28 * unit), ef.text, fill=fill, font=curve.font(19), anchor="ra")
    title = "LV volume (ml)" if curve.scaled else "relative LV volume (no pixel spacing)"
    draw.text((10 * unit, 56 * unit), title, fill=_DIM, font=curve.font(14))
    _draw_axes(draw, analysis, curve)
    if not analysis.measurement.refusal:
        detail = _wrapped(draw, plain_words(ef.detail), curve.font(13), right - 10 * unit, 2)
        for row, line in enumerate(detail):
            place = (right, (76 + 17 * row) * unit)
            draw.text(place, line, fill=fill, font=curve.font(13), anchor="ra")
    return panel


def _wrapped(
    draw: ImageDraw.ImageDraw, text: str, font: Any, width_px: float, max_lines: int
) -> list[str]:
    """Lines of a text, at most `width_px` wide; the last one ends in dots if the text goes on."""
    lines, line, words = list[str](), "", text.split()
    for index, word in enumerate(words):
        longer = f"{line} {word}".strip()
        is_last = len(lines) == max_lines - 1 and index < len(words) - 1
        if draw.textlength(longer + " ..." * is_last, font=font) <= width_px:
            line = longer
        elif len(lines) == max_lines - 1:
            return [*lines, f"{line} ..."]
        else:
            lines, line = [*lines, line] if line else lines, word
    return [*lines, line] if line else lines


def _draw_axes(draw: ImageDraw.ImageDraw, analysis: Analysis, curve: _Curve) -> None:
    unit, font = curve.unit, curve.font(12)
    for share in (0.0, 0.5, 1.0):
        value = share * curve.top / 1.1
        y = curve.low - (curve.low - curve.high) * share / 1.1
        draw.line([(curve.left, y), (curve.right, y)], fill=(38, 44, 54), width=round(unit))
        text = "" if curve.is_empty else f"{value:.0f}" if curve.scaled else f"{value:.1f}"
        draw.text((curve.left - 8 * unit, y), text, fill=_DIM, font=font, anchor="rm")
    for piece in curve.pieces(len(curve.values)):
        draw.line(piece, fill=(112, 122, 138), width=round(unit))
    for time_s in analysis.clip.r_wave_times_s if analysis.clip.times_s is not None else ():
        x = float(np.interp(time_s, curve.times[[0, -1]], (curve.left, curve.right)))
        draw.line([(x, curve.low), (x, curve.low - 14 * unit)], fill=_TEXT, width=round(unit))
        draw.text((x, curve.low - 16 * unit), "R", fill=_DIM, font=font, anchor="mb")
    words = "frame {:.0f}" if analysis.clip.times_s is None else "{:.2f} s"
    for x, time, anchor in ((curve.left, 0, "la"), (curve.right, -1, "ra")):
        text = words.format(curve.times[time])
        draw.text((x, curve.low + 6 * unit), text, fill=_DIM, font=font, anchor=anchor)


def _draw_refusal(draw: ImageDraw.ImageDraw, refusal: str, curve: _Curve) -> None:
    """Write why there is no EF over the axes and the curve, on a box of its own."""
    text, unit = f"no EF: {plain_words(refusal)}", curve.unit
    lines = _wrapped(draw, text, curve.font(14), curve.right - curve.left - 30 * unit, 5)
    place = ((curve.left + curve.right) / 2, (curve.low + curve.high) / 2)
    style: dict[str, Any] = {"font": curve.font(14), "anchor": "mm", "align": "center"}
    box = draw.textbbox(place, "\n".join(lines), **style)
    around = [box[0] - 8 * unit, box[1] - 6 * unit, box[2] + 8 * unit, box[3] + 6 * unit]
    draw.rounded_rectangle(around, 6 * unit, fill=_BACKGROUND, outline=ED_COLOUR)
    draw.text(place, "\n".join(lines), fill=ED_COLOUR, **style)


def _marks(analysis: Analysis) -> list[tuple[int, str, tuple[int, int, int]]]:
    """Frame, name and colour of the ED and ES of every beat."""
    colours = {"ED": ED_COLOUR, "ES": ES_COLOUR}
    marks = phase_marks(analysis.measurement)
    return [(frame, name, colours[name]) for frame, name in marks.items()]


def _draw_now(panel: Image.Image, analysis: Analysis, curve: _Curve, now: int) -> None:
    """Draw the frame's number and time, the curve up to it, and ED and ES once reached."""
    draw, unit = ImageDraw.Draw(panel), curve.unit
    time_s = analysis.measurement.frames[now].time_s
    text = f"frame {now}" + ("" if time_s is None else f"   {time_s:.2f} s")
    place = (curve.width - 12 * unit, 8 * unit)
    draw.text(place, text, fill=_TEXT, font=curve.font(14), anchor="ra")
    for piece in curve.pieces(now + 1):
        draw.line(piece, fill=CONTOURS["LV"][1], width=round(3 * unit), joint="curve")
    for frame, name, colour in _marks(analysis):
        point = curve.point(frame)
        if point is not None and frame <= now:
            x, y = point
            _dot(draw, point, 5 * unit, colour)
            draw.text((x, y + 8 * unit), name, fill=colour, font=curve.font(13), anchor="ma")
    here = curve.point(now)
    if here is not None:
        _dot(draw, here, 3 * unit, _TEXT)
    if analysis.measurement.refusal:
        _draw_refusal(draw, analysis.measurement.refusal, curve)


def _dot(
    draw: ImageDraw.ImageDraw,
    place: tuple[float, float],
    radius: float,
    colour: tuple[int, int, int],
) -> None:
    x, y = place
    draw.ellipse([x - radius, y - radius, x + radius, y + radius], fill=colour)


def _draw_badge(picture: Image.Image, analysis: Analysis, curve: _Curve, now: int) -> None:
    """Mark the ED and the ES frame; other frames have no text over the picture."""
    draw, unit = ImageDraw.Draw(picture), curve.unit
    right = picture.width - 12 * unit
    for frame, name, colour in _marks(analysis):
        if frame == now:
            box = [right - 62 * unit, 12 * unit, right, 50 * unit]
            draw.rounded_rectangle(box, 8 * unit, fill=colour)
            place = (right - 31 * unit, 31 * unit)
            draw.text(place, name, fill=(20, 20, 20), font=curve.font(24), anchor="mm")


def picture_size(analysis: Analysis) -> tuple[int, int]:
    """(width, height) in pixels of the picture in the overlay, which is above its curve."""
    first = frame_picture(analysis, 0)
    return max(first.width, _MIN_WIDTH_PX), first.height


def overlay_frames(analysis: Analysis) -> Iterator[np.ndarray]:
    """Yield the overlay's frames, `(H, W, 3)` uint8 RGB, one per frame of the clip."""
    first = frame_picture(analysis, 0)
    width = max(first.width, _MIN_WIDTH_PX)  # a narrow clip must not cut the disclaimer
    curve = _Curve(analysis, width)
    still = _panel(analysis, curve)
    for now in range(analysis.clip.num_frames):
        canvas = Image.new("RGB", (width, first.height + curve.height), _BACKGROUND)
        picture = Image.new("RGB", (width, first.height))
        picture.paste(frame_picture(analysis, now), ((width - first.width) // 2, 0))
        _draw_badge(picture, analysis, curve, now)
        panel = still.copy()
        _draw_now(panel, analysis, curve, now)
        canvas.paste(picture, (0, 0))
        canvas.paste(panel, (0, first.height))
        if now % _RELEASE_FRAMES == 0:
            release(analysis.clip.frames)
            release(analysis.masks)
        yield np.asarray(canvas)

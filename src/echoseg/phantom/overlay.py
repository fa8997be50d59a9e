"""Overlay of a clip (ECG, depth ticks, text, grey bar) and JPEG artefacts.

The overlay stays outside the sector, except for thin lines at its edge.
"""

import io
from dataclasses import dataclass

import numpy as np

from echoseg.phantom.config import Rhythm, Style
from echoseg.phantom.rhythm import Beats
from echoseg.phantom.sector import Sector

_SWEEP_S = 1.6
_ECG_WAVES = (  # (from the R wave, from the next one), time s, width s, height
    (False, 0.0, 0.010, 1.0),
    (True, 0.0, 0.010, 1.0),
    (False, 0.03, 0.010, -0.25),
    (False, 0.28, 0.040, 0.25),
)
_P_WAVE = (True, -0.16, 0.025, 0.13)


@dataclass(frozen=True, kw_only=True, slots=True)
class Overlay:
    """Elements of the overlay.

    Attributes:
        ecg: A running ECG under the sector.
        ticks: Depth marks, one per centimetre.
        text: Frame rate and depth in a corner.
        bar: The grey map at the left edge.
        jpeg_quality: JPEG quality; None disables compression.
    """

    ecg: bool
    ticks: bool
    text: bool
    bar: bool
    jpeg_quality: int | None

    @classmethod
    def draw(cls, rng: np.random.Generator, style: Style) -> "Overlay":
        """Draw an overlay; the held-out style has the grey bar and a coarser codec."""
        ecg, ticks, text, coded = rng.uniform(size=4)
        quality = int(rng.integers(60, 96)) if style is Style.TRAIN else int(rng.integers(35, 56))
        return cls(
            ecg=bool(ecg < 0.5),
            ticks=bool(ticks < 0.6),
            text=bool(text < 0.4),
            bar=style is Style.HELD_OUT,
            jpeg_quality=quality if coded < 0.6 else None,
        )


def ecg(beats: Beats, times_s: np.ndarray) -> np.ndarray:
    """ECG amplitude at times; without P waves in atrial fibrillation."""
    beat = beats.index(times_s)
    since_s = times_s - beats.r_peaks_s[beat]
    until_s = times_s - beats.r_peaks_s[beat + 1]
    waves = _ECG_WAVES
    if beats.rhythm is not Rhythm.ATRIAL_FIBRILLATION:
        waves = (*waves, _P_WAVE)
    height = np.zeros(len(times_s))
    for before, at_s, width_s, size in waves:
        away = ((until_s if before else since_s) - at_s) / width_s
        height += size * np.exp(-0.5 * away**2)
    return height


def draw_overlay(
    frames: np.ndarray, overlay: Overlay, sector: Sector, beats: Beats, times_s: np.ndarray
) -> np.ndarray:
    """Draw the overlay on frames `T H W` uint8 and compress them."""
    from PIL import Image, ImageDraw

    layer = _still_layer(overlay, sector, times_s)
    out = np.where(sector.mask, frames, np.maximum(frames, layer))
    size = sector.size_px
    columns = np.arange(size)
    for index, time_s in enumerate(times_s):
        picture = Image.fromarray(out[index])
        if overlay.ecg:
            sweep_s = time_s - _SWEEP_S * (1 - (columns + 1) / size)
            rows = size * (0.965 - 0.05 * ecg(beats, sweep_s))
            ImageDraw.Draw(picture).line(
                list(zip(columns.tolist(), rows.tolist(), strict=True)), fill=200
            )
        if overlay.jpeg_quality is not None:
            coded = io.BytesIO()
            picture.save(coded, "JPEG", quality=overlay.jpeg_quality)
            picture = Image.open(coded)
        if overlay.ecg or overlay.jpeg_quality is not None:
            out[index] = np.asarray(picture)
    return out


def _still_layer(overlay: Overlay, sector: Sector, times_s: np.ndarray) -> np.ndarray:
    """The static part of the overlay, `H W` uint8."""
    from PIL import Image, ImageDraw, ImageFont

    size, step = sector.size_px, sector.spacing_mm
    picture = Image.new("L", (size, size))
    draw = ImageDraw.Draw(picture)
    top = sector.origin_px[1]
    if overlay.ticks:
        for number in range(int((size - top) * step // 10) + 1):
            row, width = top + number * 10 / step, 4 if number % 5 == 0 else 2
            draw.line([(size - 1 - width, row), (size - 1, row)], fill=180)
    if overlay.text and size >= 112 and len(times_s) > 1:
        rate = (len(times_s) - 1) / (times_s[-1] - times_s[0])
        text = f"{rate:.0f} Hz\n{(size - 2 * top) * step / 10:.0f} cm"
        draw.text((3, 2), text, fill=170, font=ImageFont.load_default(max(8, size // 20)))
    if overlay.bar:
        rows, width = size // 4, max(3, size // 40)
        bar = np.linspace(255, 0, rows).astype(np.uint8)[:, None].repeat(width, 1)
        picture.paste(Image.fromarray(bar), (2, size // 3))
    return np.asarray(picture)

"""Fans of speckle with an ECG beside them, made by the tests."""

import io

import numpy as np
from PIL import Image

from echoseg.clip import Clip


def strip_below(gap_px, *, num_frames=40, rows=240, columns=320):
    """A fan of speckle, and an ECG that runs to the left `gap_px` below it, over the whole width.

    Returns the clip, the fan and the rows of the strip.
    """
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:rows, :columns]
    fan = (np.hypot(y - 8, x - columns / 2) < 160) & (np.abs(x - columns / 2) < 0.7 * (y - 8))
    frames = np.where(fan, rng.integers(20, 140, (num_frames, rows, columns)), 0)
    top = 168 + gap_px
    frames = frames.astype(np.uint8)
    for index in range(num_frames):
        phase = ((np.arange(columns) / columns + 0.4 * index / num_frames) * 3) % 1
        wave = np.exp(-0.5 * ((phase - 0.2) / 0.02) ** 2) + 0.25 * np.exp(
            -0.5 * ((phase - 0.5) / 0.06) ** 2
        )
        line = np.rint(top + 30 * (1 - wave)).astype(int)
        for low, high, column in zip(line, np.roll(line, 1), range(columns), strict=True):
            first, last = sorted((low, high))
            frames[index, first : last + 2, column] = 220
    return Clip(frames=frames), fan, (top, top + 32)


def as_jpeg(frames, quality=75):
    """The frames after JPEG, which spreads a trace over blocks of 8 pixels."""
    out = []
    for frame in frames:
        file = io.BytesIO()
        Image.fromarray(frame).save(file, "jpeg", quality=quality)
        out.append(np.asarray(Image.open(file)))
    return np.stack(out)

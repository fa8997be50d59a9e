"""Masks of a heart whose volume is known by formula."""

import math

import numpy as np


def heart(
    half_width_mm=22.0, length_mm=80.0, *, spacing_mm=(0.5, 0.5), tilt_deg=0.0, size=(300, 300)
):
    """A half-ellipsoid cavity (base cut at its widest), its wall, and an atrium under it."""
    rows, columns = np.mgrid[: size[0], : size[1]]
    y = rows * spacing_mm[0] - 0.62 * size[0] * spacing_mm[0]
    x = columns * spacing_mm[1] - 0.5 * size[1] * spacing_mm[1]
    tilt = math.radians(tilt_deg)
    x, y = x * math.cos(tilt) + y * math.sin(tilt), y * math.cos(tilt) - x * math.sin(tilt)
    mask = np.zeros(size, np.uint8)
    outer = (x / (half_width_mm + 10)) ** 2 + (y / (length_mm + 10)) ** 2 < 1
    mask[outer & (y < 0)] = 2
    mask[((x / half_width_mm) ** 2 + (y / length_mm) ** 2 < 1) & (y < 0)] = 1
    mask[((x / half_width_mm) ** 2 + (y / 40) ** 2 < 1) & (y >= 0)] = 3
    return mask


def half_ellipsoid_ml(half_width_mm, length_mm):
    return 2 / 3 * math.pi * half_width_mm**2 * length_mm / 1000


def beating(num_frames=40, *, shrink=0.25, rate_hz=40.0, bpm=80.0, phase=0.0):
    """A clip whose half width and length follow one cosine; returns masks, times, true volumes."""
    times = np.arange(num_frames) / rate_hz
    squeeze = shrink * 0.5 * (1 - np.cos(2 * math.pi * (times * bpm / 60 + phase)))
    sizes = [(22 * (1 - s), 80 * (1 - 0.4 * s)) for s in squeeze]
    masks = np.stack(
        [heart(w, length, spacing_mm=(1.0, 1.0), size=(150, 150)) for w, length in sizes]
    )
    return masks, times, np.array([half_ellipsoid_ml(w, length) for w, length in sizes])


def curve_of(lengths_s, rate_hz, *, skip_s=0.0, drop=(1.0,), ef=60.0):
    """Beats of 0.3 s ejection, 0.08 s empty, 0.2 s filling, then a plateau of 100.

    Returns times, volumes and the begin of each beat; ejection begins 0.05 s after it. `drop`
    are shares of the stroke, beat by beat.
    """
    begins = np.concatenate([[0.0], np.cumsum(lengths_s)])
    times = np.arange(skip_s, begins[-1], 1 / rate_hz)
    beat = np.minimum(np.searchsorted(begins, times, side="right") - 1, len(lengths_s) - 1)
    since = times - begins[beat]
    eject = np.clip((since - 0.05) / 0.3, 0, 1)
    fill = np.clip((since - 0.43) / 0.2, 0, 1)
    share = 0.5 * (1 - np.cos(np.pi * eject)) * 0.5 * (1 + np.cos(np.pi * fill))
    volume = 100 - ef * share * np.resize(drop, len(lengths_s))[beat]
    return times - skip_s, volume, begins - skip_s

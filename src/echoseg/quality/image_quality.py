"""Image quality of one frame, from picture and mask: contrast, wall segments, sector border."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from echoseg.clip import Label
from echoseg.errors import MeasurementError
from echoseg.frame_store import count_pixels, each
from echoseg.measure.geometry import LongAxis, long_axis

NUM_SEGMENTS = 6
"""Basal, middle and apical on either side of the long axis: the segments of an apical view."""
MIN_SEGMENT_CONTRAST = 0.5
"""How much brighter a visible wall segment is than the cavity, in the cavity's SDs of grey."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FrameQuality:
    """Image quality of one frame.

    Attributes:
        contrast: Mean grey of the wall minus that of the cavity, in pooled standard deviations.
        segments_unseen: Wall segments (0 to 6) no brighter than the adjacent cavity, or absent.
        outside_percent: Share of cavity and wall outside the ultrasound sector, in percent.
    """

    contrast: float
    segments_unseen: int
    outside_percent: float


def frame_quality(
    frame: np.ndarray,
    mask: np.ndarray,
    sector: np.ndarray | None = None,
    axis: LongAxis | None = None,
) -> FrameQuality | None:
    """Assess a frame; None where there is no cavity with a wall.

    Args:
        frame: `(H, W)` uint8.
        mask: Label map, `(H, W)`.
        sector: `(H, W)` bool, true inside the ultrasound sector; default: the whole picture.
        axis: The mask's long axis in pixels; default: it is found.
    """
    heart = (mask == Label.LV_CAVITY) | (mask == Label.LV_MYOCARDIUM)
    rows, columns = np.nonzero(heart)
    greys = frame[rows, columns].astype(float)
    is_wall = mask[rows, columns] == Label.LV_MYOCARDIUM
    if not 8 <= np.count_nonzero(is_wall) <= len(greys) - 8:
        return None
    try:
        axis = axis or long_axis(mask, (1.0, 1.0))
    except MeasurementError:
        return None
    outside = 0.0 if sector is None else float((heart & ~sector).sum() / heart.sum())
    part = _segments(rows, columns, axis) + NUM_SEGMENTS * is_wall
    # numbers of pixels, sums of greys and of their squares: of the cavity's segments, of the wall's
    number, total, squares = (
        np.bincount(part, weights, 2 * NUM_SEGMENTS).reshape(2, NUM_SEGMENTS)
        for weights in (None, greys, greys**2)
    )
    means = total.sum(1) / number.sum(1)
    variances = squares.sum(1) / number.sum(1) - means**2
    mean = total / number.clip(1)
    dark = mean[0] + MIN_SEGMENT_CONTRAST * max(math.sqrt(variances[0]), 1.0)
    is_dark = (number[0] > 0) & (mean[1] < dark)
    return FrameQuality(
        contrast=float((means[1] - means[0]) / max(math.sqrt(variances.mean()), 1.0)),
        segments_unseen=int(np.count_nonzero(is_dark | (number[1] == 0))),
        outside_percent=100 * outside,
    )


def quality_by_frame(
    frames: np.ndarray, masks: np.ndarray, axes_px: Sequence[LongAxis | None] = ()
) -> list[dict[str, float | None]]:
    """Assess each frame of a clip: one row per frame, with its columns by name.

    `contrast` and `wall_segments_unseen` are as in `FrameQuality`; `lv_area_jump_percent` is the
    difference of a cavity's area from the mean of its neighbours', in % of the clip's mean area.
    None where a frame shows no cavity with a wall, or has no two neighbours. `frames` are
    `(T, H, W)` uint8, `masks` label maps of that shape, `axes_px` their long axes as far as known.
    """
    areas = count_pixels(masks, Label.LV_CAVITY).astype(float)
    jumps: list[float | None] = [None] * len(areas)
    if areas.any():
        neighbours = (areas[:-2] + areas[2:]) / 2
        jumps[1:-1] = (100 * np.abs(areas[1:-1] - neighbours) / areas.mean()).tolist()
    rows: list[dict[str, float | None]] = []
    axes = axes_px or [None] * len(areas)
    for frame, mask, jump, axis in zip(each(frames), each(masks), jumps, axes, strict=True):
        quality = frame_quality(frame, mask, axis=axis)
        rows.append(
            {
                "contrast": quality.contrast if quality else None,
                "wall_segments_unseen": quality.segments_unseen if quality else None,
                "lv_area_jump_percent": jump,
            }
        )
    return rows


def _segments(rows: np.ndarray, columns: np.ndarray, axis: LongAxis) -> np.ndarray:
    """Segment (0 to 5) of each pixel: thirds of the axis, then its side."""
    right, down = columns - axis.annulus_mid_mm[0], rows - axis.annulus_mid_mm[1]
    x, y = axis.direction
    along = (right * x + down * y) / max(axis.length_mm, 1e-9)
    return (3 * along).astype(int).clip(0, 2) + 3 * (down * x > right * y)

"""Image quality of one frame, from picture and mask: contrast, wall segments, sector border."""

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
    frame: np.ndarray, mask: np.ndarray, sector: np.ndarray | None = None
) -> FrameQuality | None:
    """Assess a frame; None where there is no cavity with a wall.

    Args:
        frame: `(H, W)` uint8.
        mask: Label map, `(H, W)`.
        sector: `(H, W)` bool, true inside the ultrasound sector; default: the whole picture.
    """
    cavity, wall = mask == Label.LV_CAVITY, mask == Label.LV_MYOCARDIUM
    if cavity.sum() < 8 or wall.sum() < 8:
        return None
    try:
        axis = long_axis(mask, (1.0, 1.0))
    except MeasurementError:
        return None
    greys = frame.astype(np.float32)
    spread = np.sqrt((greys[cavity].var() + greys[wall].var()) / 2)
    heart = cavity | wall
    outside = 0.0 if sector is None else float((heart & ~sector).sum() / heart.sum())
    return FrameQuality(
        contrast=float((greys[wall].mean() - greys[cavity].mean()) / max(spread, 1.0)),
        segments_unseen=_unseen(greys, cavity, wall, axis),
        outside_percent=100 * outside,
    )


def quality_by_frame(frames: np.ndarray, masks: np.ndarray) -> list[dict[str, float | None]]:
    """Assess each frame of a clip: one row per frame, with its columns by name.

    `contrast` and `wall_segments_unseen` are as in `FrameQuality`; `lv_area_jump_percent` is the
    difference of a cavity's area from the mean of its neighbours', in % of the clip's mean area.
    None where a frame shows no cavity with a wall, or has no two neighbours. `frames` are
    `(T, H, W)` uint8, `masks` label maps of that shape.
    """
    areas = count_pixels(masks, Label.LV_CAVITY).astype(float)
    jumps: list[float | None] = [None] * len(areas)
    if areas.any():
        neighbours = (areas[:-2] + areas[2:]) / 2
        jumps[1:-1] = (100 * np.abs(areas[1:-1] - neighbours) / areas.mean()).tolist()
    rows: list[dict[str, float | None]] = []
    for frame, mask, jump in zip(each(frames), each(masks), jumps, strict=True):
        quality = frame_quality(frame, mask)
        rows.append(
            {
                "contrast": quality.contrast if quality else None,
                "wall_segments_unseen": quality.segments_unseen if quality else None,
                "lv_area_jump_percent": jump,
            }
        )
    return rows


def _unseen(greys: np.ndarray, cavity: np.ndarray, wall: np.ndarray, axis: LongAxis) -> int:
    """Number of wall segments that do not stand out from the cavity at the same level."""
    cavity_part, wall_part = _segments(cavity, axis), _segments(wall, axis)
    dark = MIN_SEGMENT_CONTRAST * max(float(greys[cavity].std()), 1.0)
    unseen = 0
    for segment in range(NUM_SEGMENTS):
        inside, border = greys[cavity][cavity_part == segment], greys[wall][wall_part == segment]
        if not border.size or (inside.size and border.mean() < inside.mean() + dark):
            unseen += 1
    return unseen


def _segments(mask: np.ndarray, axis: LongAxis) -> np.ndarray:
    """Segment (0 to 5) of each pixel of a mask: thirds of the axis, then its side."""
    rows, columns = np.nonzero(mask)
    away = np.stack([columns, rows], 1) - axis.annulus_mid_mm
    along = away @ axis.direction / max(axis.length_mm, 1e-9)
    across = away @ np.array([-axis.direction[1], axis.direction[0]])
    return (3 * along).astype(int).clip(0, 2) + 3 * (across > 0)

"""What picture and mask show of one frame's quality: contrast, wall segments, the sector's edge."""

from dataclasses import dataclass

import numpy as np

from echoseg.clip import Label
from echoseg.errors import MeasurementError
from echoseg.measure.geometry import LongAxis, long_axis

NUM_SEGMENTS = 6
"""Basal, middle and apical, on either side of the long axis: what one apical view shows."""
SEEN_ABOVE = 0.5
"""Standard deviations of the cavity's grey by which a segment of wall must be brighter than it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FrameQuality:
    """One frame's picture, judged by its mask.

    Attributes:
        contrast: Mean grey of the wall less that of the cavity, in their pooled standard deviation.
        segments_unseen: Wall segments (0 to 6) no brighter than the cavity beside them, or absent.
        outside_percent: Share of cavity and wall that lies outside the ultrasound sector.
    """

    contrast: float
    segments_unseen: int
    outside_percent: float


def frame_quality(
    frame: np.ndarray, mask: np.ndarray, sector: np.ndarray | None = None
) -> FrameQuality | None:
    """Return the quality of a frame; None where there is no cavity with a wall.

    Args:
        frame: `H W` uint8.
        mask: Label map `H W`.
        sector: `H W` bool, where there is ultrasound; the whole picture by default.
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
    """Return the quality of each frame of a clip, a row a frame.

    `contrast` and `wall_segments_unseen` as in `FrameQuality`; `lv_area_jump_percent` is how far a
    cavity's area lies from the mean of its neighbours', in % of the clip's mean area. None where a
    frame shows no cavity with a wall, or has no two neighbours.

    Args:
        frames: `T H W` uint8.
        masks: Label maps `T H W`.
    """
    areas = (masks == Label.LV_CAVITY).sum((1, 2)).astype(float)
    mean = areas.mean()
    rows: list[dict[str, float | None]] = []
    for index, (frame, mask) in enumerate(zip(frames, masks, strict=True)):
        found = frame_quality(frame, mask)
        jump = None
        if 0 < index < len(areas) - 1 and mean > 0:
            beside = (areas[index - 1] + areas[index + 1]) / 2
            jump = float(100 * abs(areas[index] - beside) / mean)
        rows.append(
            {
                "contrast": found.contrast if found else None,
                "wall_segments_unseen": found.segments_unseen if found else None,
                "lv_area_jump_percent": jump,
            }
        )
    return rows


def _unseen(greys: np.ndarray, cavity: np.ndarray, wall: np.ndarray, axis: LongAxis) -> int:
    """Return how many segments of wall do not stand out from the cavity of the same level."""
    cavity_part, wall_part = _segments(cavity, axis), _segments(wall, axis)
    dark = SEEN_ABOVE * max(float(greys[cavity].std()), 1.0)
    unseen = 0
    for segment in range(NUM_SEGMENTS):
        inside, border = greys[cavity][cavity_part == segment], greys[wall][wall_part == segment]
        if not border.size or (inside.size and border.mean() < inside.mean() + dark):
            unseen += 1
    return unseen


def _segments(mask: np.ndarray, axis: LongAxis) -> np.ndarray:
    """Return the segment, 0 to 5, of each pixel of a mask: thirds of the axis, then its side."""
    rows, columns = np.nonzero(mask)
    away = np.stack([columns, rows], 1) - axis.annulus_mid_mm
    along = away @ axis.direction / max(axis.length_mm, 1e-9)
    across = away @ np.array([-axis.direction[1], axis.direction[0]])
    return (3 * along).astype(int).clip(0, 2) + 3 * (across > 0)

"""One label map and all that it measures by itself, so that a changed frame costs one frame."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from echoseg.box import region_box
from echoseg.clip import Label
from echoseg.frame_store import each
from echoseg.measure.geometry import LongAxis
from echoseg.measure.shape import (
    Shape,
    Wall,
    measure_atrium,
    measure_shape,
    measure_wall,
    ring_fraction,
)

MIN_LV_FRACTION = 0.003
"""Fraction of the picture below which a cavity counts as a stray piece."""
Spacing = tuple[float, float] | None


@dataclass(frozen=True, kw_only=True, eq=False)
class MeasuredFrame:
    """A label map and what it measures.

    Attributes:
        mask: `(H, W)` uint8, values of `Label`.
        spacing_mm: Pixel spacing (row, column) in mm; None: all lengths are in pixels.
        area_px: Number of cavity pixels.
        shape: The cavity's; None where there is none, or only a stray piece.
        ring_fraction: Of the cavity's border, by `shape.ring_fraction`.
        is_cut_off: The cavity touches the edge of the picture.
        box: (top, left, bottom, right) of the cavity in pixels, half open; all 0 without one.
    """

    mask: np.ndarray
    spacing_mm: Spacing
    area_px: int
    shape: Shape | None
    ring_fraction: float
    is_cut_off: bool
    box: tuple[int, int, int, int]

    @property
    def volume(self) -> float:
        """Volume in ml, without a pixel spacing in 1000 cubic pixels; NaN without a cavity."""
        return np.nan if self.shape is None else self.shape.volume_ml

    @property
    def axis_px(self) -> LongAxis | None:
        """The long axis in pixels; None without a cavity, or where pixels are not square."""
        row_mm, column_mm = self.spacing_mm or (1.0, 1.0)
        return self.shape.axis.over(row_mm) if self.shape and row_mm == column_mm else None

    @cached_property
    def wall(self) -> Wall | None:
        """The wall; None where there is none, or no cavity."""
        if self.shape is None:
            return None
        return measure_wall(self.mask, self.spacing_mm or (1.0, 1.0), self.shape)

    @cached_property
    def atrium(self) -> tuple[float, float] | None:
        """Area and length of the left atrium, by `measure_atrium`; None without a cavity."""
        if self.shape is None:
            return None
        return measure_atrium(self.mask, self.spacing_mm or (1.0, 1.0), self.shape.axis)


def measure_frame(mask: np.ndarray, spacing_mm: Spacing) -> MeasuredFrame:
    """Measure a label map `(H, W)`."""
    cavity = mask == Label.LV_CAVITY
    area_px = int(np.count_nonzero(cavity))
    rows, columns = region_box(cavity)
    is_piece = area_px < max(1, MIN_LV_FRACTION * mask.size)
    return MeasuredFrame(
        mask=mask,
        spacing_mm=spacing_mm,
        area_px=area_px,
        shape=None if is_piece else measure_shape(mask, spacing_mm or (1.0, 1.0)),
        ring_fraction=ring_fraction(mask),
        is_cut_off=bool(cavity[[0, -1]].any() or cavity[:, [0, -1]].any()),
        box=(rows.start, columns.start, rows.stop, columns.stop),
    )


def measure_each(
    masks: np.ndarray | Sequence[MeasuredFrame], spacing_mm: Spacing
) -> tuple[MeasuredFrame, ...]:
    """Measure label maps `(T, H, W)`; frames that are measured with this spacing stay as they are.

    Args:
        masks: Label maps, or frames measured before.
        spacing_mm: Pixel spacing (row, column) in mm; None: in pixels.
    """
    if isinstance(masks, np.ndarray):
        return tuple(measure_frame(mask, spacing_mm) for mask in each(masks))
    return tuple(
        one if one.spacing_mm == spacing_mm else measure_frame(one.mask, spacing_mm)
        for one in masks
    )

"""What one label map measures: the cavity's axis, disks, area, volume and line; wall and atrium.

All in millimetres; without a scale pass (1, 1) and read ratios only.
"""

from dataclasses import dataclass

import numpy as np

from echoseg.box import region_box
from echoseg.clip import Label
from echoseg.measure.geometry import (
    LongAxis,
    area_length_volume_ml,
    contour_axis,
    disk_diameters_mm,
    disk_volume_ml,
    line_length_mm,
    line_over_apex_mm,
    mask_contour_mm,
    polygon_area_mm2,
)

LINE_SMOOTHING_PX = 2.5
"""Standard deviation of the smoothing that takes pixel stairs off a line before it is measured."""
MYOCARDIUM_G_PER_ML = 1.05
_MIN_WALL_SHARE = 0.15
"""Wall area as a share of the cavity's below which the mask has no wall to measure."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Shape:
    """The left ventricle on one frame.

    Attributes:
        axis: Annulus line, apex and long axis.
        diameters_mm: Widths of the disks, annulus to apex.
        volume_ml: Single-plane disks.
        area_length_volume_ml: 8 A^2 / (3 pi L).
        area_mm2: Inside the cavity's contour.
        line_mm: Length of the endocardial line, hinge over apex to hinge.
    """

    axis: LongAxis
    diameters_mm: np.ndarray
    volume_ml: float
    area_length_volume_ml: float
    area_mm2: float
    line_mm: float


def measure_shape(mask: np.ndarray, spacing_mm: tuple[float, float]) -> Shape | None:
    """Return the shape of the cavity on a label map `H W`; None when it encloses no volume.

    Raises:
        MeasurementError: If there is no cavity.
    """
    contour = mask_contour_mm(mask == Label.LV_CAVITY, spacing_mm)
    axis = contour_axis(contour, mask == Label.LA_CAVITY, spacing_mm)
    diameters = disk_diameters_mm(contour, axis)
    volume = disk_volume_ml(diameters, axis.length_mm)
    if not volume > 0:
        return None
    area = polygon_area_mm2(contour)
    line = line_over_apex_mm(contour, axis, LINE_SMOOTHING_PX * max(spacing_mm))
    return Shape(
        axis=axis,
        diameters_mm=diameters,
        volume_ml=volume,
        area_length_volume_ml=area_length_volume_ml(area, axis.length_mm),
        area_mm2=area,
        line_mm=line_length_mm(line),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Wall:
    """The myocardium on one frame: mean thickness, and the mass of a body of revolution."""

    thickness_mm: float
    mass_g: float


def measure_wall(mask: np.ndarray, spacing_mm: tuple[float, float], shape: Shape) -> Wall | None:
    """Return the wall's mean thickness and an estimate of its mass; None where there is no wall.

    Thickness is the wall's area over the mean of its inner and outer line. The mass is 1.05 g/ml
    times what single-plane disks of the outer border hold more than those of the inner one: an
    estimate from one view, not the guidelines' mass, which needs a short axis.
    """
    pixel_mm2 = spacing_mm[0] * spacing_mm[1]
    wall = mask == Label.LV_MYOCARDIUM
    if wall.sum() * pixel_mm2 < _MIN_WALL_SHARE * shape.area_mm2:
        return None
    contour = mask_contour_mm(wall | (mask == Label.LV_CAVITY), spacing_mm)
    middle, toward = shape.axis.annulus_mid_mm, shape.axis.direction
    reach = (contour - middle) @ toward
    base = contour[np.abs(reach) < 2 * max(spacing_mm)]
    if reach.max() <= shape.axis.length_mm or len(base) < 2:
        return None
    across = (base - middle) @ np.array([-toward[1], toward[0]])
    axis = LongAxis(
        hinges_mm=base[[int(across.argmin()), int(across.argmax())]],
        annulus_mid_mm=middle,
        apex_mm=middle + toward * reach.max(),
    )
    outer_mm = line_length_mm(line_over_apex_mm(contour, axis, LINE_SMOOTHING_PX * max(spacing_mm)))
    outer_ml = disk_volume_ml(disk_diameters_mm(contour, axis, level=False), axis.length_mm)
    inner = mask_contour_mm(mask == Label.LV_CAVITY, spacing_mm)
    inner_ml = disk_volume_ml(
        disk_diameters_mm(inner, shape.axis, level=False), shape.axis.length_mm
    )
    return Wall(
        thickness_mm=float(wall.sum() * pixel_mm2 / (0.5 * (outer_mm + shape.line_mm))),
        mass_g=MYOCARDIUM_G_PER_ML * max(0.0, outer_ml - inner_ml),
    )


def measure_atrium(
    mask: np.ndarray, spacing_mm: tuple[float, float], axis: LongAxis
) -> tuple[float, float] | None:
    """Return the left atrium's area in mm2 and length in mm; None when it is absent or cut off.

    Its length runs from the middle of the annulus line to the farthest point of its roof.

    Reference:
        Lang et al., J Am Soc Echocardiogr 28 (2015), 1-39: area-length.
    """
    atrium = mask == Label.LA_CAVITY
    edge = atrium[[0, -1]].any() or atrium[:, [0, -1]].any()
    if edge or atrium.sum() < 12:
        return None
    contour = mask_contour_mm(atrium, spacing_mm)
    length_mm = float(np.linalg.norm(contour - axis.annulus_mid_mm, axis=1).max())
    return (polygon_area_mm2(contour), length_mm) if length_mm > 0 else None


def ring_fraction(mask: np.ndarray) -> float:
    """Fraction of the outer border pixels of the cavity of `H W` that are myocardium or atrium."""
    cavity = mask == Label.LV_CAVITY
    rows, columns = region_box(cavity, 1)
    if rows.stop == 0:
        return 0.0
    inside = cavity[rows, columns]
    around = inside.copy()
    around[1:] |= inside[:-1]
    around[:-1] |= inside[1:]
    around[:, 1:] |= inside[:, :-1]
    around[:, :-1] |= inside[:, 1:]
    num_outside = np.count_nonzero(cavity[[0, -1]]) + np.count_nonzero(cavity[:, [0, -1]])
    border = mask[rows, columns][around & ~inside]
    num_border = border.size + num_outside  # beyond the edge of the picture is background
    return float(np.count_nonzero(border) / num_border) if num_border else 0.0

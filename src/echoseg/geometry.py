"""Mask <-> contour <-> long axis <-> disks, in millimetres; and the disks' volume.

Points are (x, y), x rightwards, y = depth downwards; the centre of pixel [row, column] lies at
(column * spacing_mm[1], row * spacing_mm[0]). Without a scale pass (1, 1): all is then in pixels.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from skimage.measure import find_contours

from echoseg.anatomy import Label
from echoseg.errors import ArgumentError, MeasurementError

NUM_DISKS = 20
"""Disks along the long axis (Lang et al., J Am Soc Echocardiogr 28:1-39, 2015)."""


MM3_PER_ML = 1000.0


@dataclass(frozen=True, kw_only=True, eq=False)
class LongAxis:
    """The long axis of the left ventricle on one frame; points (x, y), in mm."""

    hinges_mm: np.ndarray
    annulus_mid_mm: np.ndarray
    apex_mm: np.ndarray

    @property
    def length_mm(self) -> float:
        """From the middle of the annulus line to the apex."""
        return float(np.linalg.norm(self.apex_mm - self.annulus_mid_mm))


def mask_contour_mm(mask: np.ndarray, spacing_mm: tuple[float, float]) -> np.ndarray:
    """Return the longest closed contour of a boolean mask `H W`, `P 2` (x, y), sub-pixel.

    Raises:
        MeasurementError: If the mask is empty.
    """
    rows, columns = np.nonzero(mask)
    if not rows.size:
        raise MeasurementError("mask must have at least one pixel to have a contour, got none")
    top, left = int(rows.min()), int(columns.min())
    crop = mask[top : rows.max() + 1, left : columns.max() + 1]
    contour = max(find_contours(np.pad(crop, 1).astype(float), 0.5), key=len)
    offset = np.array([top - 1, left - 1])
    return ((contour + offset) * np.asarray(spacing_mm))[:, ::-1]


def long_axis(mask: np.ndarray, spacing_mm: tuple[float, float]) -> LongAxis:
    """Find annulus line, apex and long axis on one label map `H W`.

    The annulus is where the cavity meets the left atrium; without an atrium, where the contour
    is farthest from the myocardium's apical half, that is the end of the principal axis lower in
    the picture. The apex is the contour point farthest from the middle of the annulus line.

    Raises:
        MeasurementError: If there is no cavity.
    """
    cavity = mask == Label.LV_CAVITY
    contour = mask_contour_mm(cavity, spacing_mm)
    atrium = mask == Label.LA_CAVITY
    base = _points_near(contour, atrium, spacing_mm)
    if len(base) < 3:
        base = _lower_end(contour)
    centred = base - base.mean(0)
    along = np.linalg.svd(centred, full_matrices=False)[2][0]
    across = np.array([-along[1], along[0]])
    place = centred @ along
    # the points nearest the atrium reach a pixel or two up the walls: the median height does not
    height = across * np.median(centred @ across)
    hinges = base.mean(0) + height + np.outer([place.min(), place.max()], along)
    middle = hinges.mean(0)
    apex = contour[np.linalg.norm(contour - middle, axis=1).argmax()]
    return LongAxis(hinges_mm=hinges, annulus_mid_mm=middle, apex_mm=apex)


def _points_near(
    contour: np.ndarray, region: np.ndarray, spacing_mm: tuple[float, float]
) -> np.ndarray:
    """Return the contour points within two pixels of a region."""
    if not region.any():
        return contour[:0]
    near = np.asarray(ndimage.binary_dilation(region, iterations=2))
    index = np.rint(contour[:, ::-1] / np.asarray(spacing_mm)).astype(int)
    rows = index[:, 0].clip(0, region.shape[0] - 1)
    columns = index[:, 1].clip(0, region.shape[1] - 1)
    return contour[near[rows, columns].astype(bool)]


def _lower_end(contour: np.ndarray) -> np.ndarray:
    """Return the contour points in the lowest tenth along the principal axis."""
    centred = contour - contour.mean(0)
    axis = np.linalg.svd(centred, full_matrices=False)[2][0]
    axis = axis if axis[1] > 0 else -axis
    along = centred @ axis
    return contour[along >= np.quantile(along, 0.9)]


def disk_diameters_mm(
    contour: np.ndarray, axis: LongAxis, num_disks: int = NUM_DISKS
) -> np.ndarray:
    """Return the widths of `num_disks` disks across the long axis, annulus to apex.

    Each is the cavity's width perpendicular to the axis at the disk's middle, clipped by the
    contour: the sum of the pieces inside it.
    """
    direction = (axis.apex_mm - axis.annulus_mid_mm) / max(axis.length_mm, 1e-9)
    normal = np.array([-direction[1], direction[0]])
    points = contour - axis.annulus_mid_mm
    along, across = points @ direction, points @ normal
    next_along, next_across = np.roll(along, -1), np.roll(across, -1)
    diameters = np.zeros(num_disks)
    for index in range(num_disks):
        height = (index + 0.5) / num_disks * axis.length_mm
        crosses = (along <= height) != (next_along <= height)
        share = (height - along[crosses]) / (next_along[crosses] - along[crosses])
        cuts = np.sort(across[crosses] + share * (next_across[crosses] - across[crosses]))
        diameters[index] = (cuts[1::2] - cuts[: len(cuts) // 2 * 2 : 2]).sum()
    return diameters


def disk_volume_ml(diameters_mm: np.ndarray, length_mm: float) -> float:
    """Return the volume of round disks of equal height, V = pi/4 (L/N) sum d_i^2.

    Reference:
        Lang et al., J Am Soc Echocardiogr 28 (2015), 1-39: disk summation, one plane (b_i = a_i).

    Raises:
        ArgumentError: If the length is negative.
    """
    if length_mm < 0:
        raise ArgumentError(f"length_mm must not be negative, got {length_mm:g}")
    return float(math.pi / 4 * np.mean(np.square(diameters_mm)) * length_mm / MM3_PER_ML)

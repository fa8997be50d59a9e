"""Mask <-> contour <-> long axis <-> disks, in millimetres; and volumes from them.

Points are (x, y), x rightwards, y = depth downwards; the centre of pixel [row, column] lies at
(column * spacing_mm[1], row * spacing_mm[0]). Without a scale pass (1, 1): all is then in pixels.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import ndimage

from echoseg.box import region_box
from echoseg.clip import Label
from echoseg.errors import ArgumentError, MeasurementError
from echoseg.measure.outline import trace_outline

NUM_DISKS = 20
"""Disks along the long axis (Lang et al., J Am Soc Echocardiogr 28:1-39, 2015)."""
MM3_PER_ML = 1000.0
_APEX_TIE = 0.99
"""Contour points at least so far, as a share of the farthest, are all taken for the apex."""
_TRIM_PX = 1.5
"""Points farther than this from the annulus line do not tilt it."""
_LINE_POINTS = 200
_TRUNCATE = 4.0
"""Standard deviations after which a Gaussian is cut off."""
_NEAR = np.argwhere(abs(np.indices((5, 5)) - 2).sum(0) < 3)
"""Steps of up to two pixels along rows and columns, each counted from two pixels before."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LongAxis:
    """The long axis of the left ventricle on one frame; points (x, y), in mm."""

    hinges_mm: np.ndarray
    annulus_mid_mm: np.ndarray
    apex_mm: np.ndarray

    @cached_property
    def length_mm(self) -> float:
        """From the middle of the annulus line to the apex."""
        return float(np.linalg.norm(self.apex_mm - self.annulus_mid_mm))

    @cached_property
    def direction(self) -> np.ndarray:
        """Unit vector (x, y) from the annulus to the apex."""
        return (self.apex_mm - self.annulus_mid_mm) / max(self.length_mm, 1e-9)

    def over(self, step_mm: float) -> "LongAxis":
        """The same in steps of STEP_MM, for instance square pixels."""
        return LongAxis(
            hinges_mm=self.hinges_mm / step_mm,
            annulus_mid_mm=self.annulus_mid_mm / step_mm,
            apex_mm=self.apex_mm / step_mm,
        )


def mask_contour_mm(mask: np.ndarray, spacing_mm: tuple[float, float]) -> np.ndarray:
    """Return the longest closed contour of a boolean mask `H W`, `P 2` (x, y), sub-pixel.

    Raises:
        MeasurementError: If the mask is empty.
    """
    rows, columns = region_box(mask)
    if rows.stop == 0:
        raise MeasurementError("mask must have at least one pixel to have a contour, got none")
    contour = trace_outline(mask[rows, columns]) + np.array([rows.start, columns.start])
    return (contour * np.asarray(spacing_mm))[:, ::-1]


def long_axis(mask: np.ndarray, spacing_mm: tuple[float, float]) -> LongAxis:
    """Find annulus line, apex and long axis on one label map `H W`.

    The annulus is where the cavity meets the left atrium. Without an atrium it lies between the
    two corners at the lower end of the principal axis, and the axis begins where it leaves the
    cavity, so that a mask without a flat base is measured whole. The apex is the contour point
    farthest from the middle of the annulus line; points as far within 1 % are averaged, for pixels
    alone choose between them.

    Raises:
        MeasurementError: If there is no cavity.
    """
    contour = mask_contour_mm(mask == Label.LV_CAVITY, spacing_mm)
    return contour_axis(contour, mask == Label.LA_CAVITY, spacing_mm)


def contour_axis(
    contour: np.ndarray, atrium: np.ndarray, spacing_mm: tuple[float, float]
) -> LongAxis:
    """The long axis as `long_axis` finds it, of a cavity's contour `P 2` and the atrium `H W`."""
    base = _points_near(contour, atrium, spacing_mm)
    if len(base) >= 3:
        hinges = _annulus(base, _TRIM_PX * max(spacing_mm))
        middle = hinges.mean(0)
        return LongAxis(hinges_mm=hinges, annulus_mid_mm=middle, apex_mm=_apex(contour, middle))
    hinges = _lower_corners(contour)
    apex = _apex(contour, hinges.mean(0))
    middle = _exit(contour, apex, hinges.mean(0))
    return LongAxis(hinges_mm=hinges, annulus_mid_mm=middle, apex_mm=_apex(contour, middle))


def _annulus(base: np.ndarray, max_off_mm: float) -> np.ndarray:
    """Return both ends `2 2` of the line through the points where cavity and atrium meet.

    Points up the walls reach it too: the line is fitted again without those far off, and its
    height is the median.
    """
    inliers = base
    centre, along, across = _line(inliers)
    for _ in range(2):
        off = np.abs((base - centre) @ across)
        near = base[off <= max(max_off_mm, _median(off))]
        if len(near) < 3 or np.array_equal(near, inliers):
            break
        inliers = near
        centre, along, across = _line(inliers)
    place = (base - centre) @ along
    height = across * _median((base - centre) @ across)
    return centre + height + np.outer([place.min(), place.max()], along)


def _line(points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the mean of points `P 2`, the unit vector along which they vary most, its normal."""
    centre = points.mean(0)
    (xx, xy), (_, yy) = (points - centre).T @ (points - centre)
    angle = math.atan2(2 * xy, xx - yy) / 2
    along = np.array([math.cos(angle), math.sin(angle)])
    return centre, along, np.array([-along[1], along[0]])


def _median(values: np.ndarray) -> float:
    """Return the median of a few finite values, many times as fast as `numpy.median`."""
    ordered, middle = np.sort(values), len(values) // 2
    return float(ordered[middle] if len(values) % 2 else ordered[middle - 1 : middle + 1].mean())


def _apex(contour: np.ndarray, middle: np.ndarray) -> np.ndarray:
    """Return the point farthest from the annulus's middle, ties averaged."""
    away = contour - middle
    far = np.linalg.norm(away, axis=1)
    tied = far >= _APEX_TIE * far.max()
    farthest = contour[far.argmax()]
    # another end of the contour that is as far is not a tie
    tied &= np.linalg.norm(contour - farthest, axis=1) < 0.5 * far.max()
    toward = away[tied].mean(0)
    size = float(np.linalg.norm(toward))
    return middle + toward / size * far.max() if size > 0 else farthest


def _lower_corners(contour: np.ndarray) -> np.ndarray:
    """Return the contour's lower left and lower right corner along its principal axis, `2 2`."""
    centre, axis, _ = _line(contour)
    axis = axis if axis[1] > 0 else -axis
    centred = contour - centre
    down, right = centred @ axis, centred @ np.array([axis[1], -axis[0]])
    return contour[[int((down - right).argmax()), int((down + right).argmax())]]


def _exit(contour: np.ndarray, apex: np.ndarray, middle: np.ndarray) -> np.ndarray:
    """Return where the line from the apex through `middle` leaves the contour."""
    size = float(np.linalg.norm(middle - apex))
    if size <= 0:
        return middle
    direction = (middle - apex) / size
    points = contour - apex
    along, across = points @ direction, points @ np.array([-direction[1], direction[0]])
    _, places = _crossings(across, along, np.zeros(1))
    return apex + direction * (places.max() if places.size else size)


def _crossings(
    level: np.ndarray, place: np.ndarray, heights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return `place` wherever a closed line crosses one of the heights, sorted, and which it is."""
    next_level, next_place = _next(level), _next(place)
    below = level <= heights[:, None]  # (heights, P)
    which, at = np.nonzero(below != _next(below))
    share = (heights[which] - level[at]) / (next_level[at] - level[at])
    places = place[at] + share * (next_place[at] - place[at])
    order = np.lexsort((places, which))
    return which[order], places[order]


def _next(values: np.ndarray) -> np.ndarray:
    """Return along the last axis of a closed line each point's next."""
    return np.concatenate([values[..., 1:], values[..., :1]], -1)


def _points_near(
    contour: np.ndarray, region: np.ndarray, spacing_mm: tuple[float, float]
) -> np.ndarray:
    """Return the contour points within two pixels of a region."""
    index = np.rint(contour[:, ::-1] / np.asarray(spacing_mm)).astype(int)
    index = index.clip(0, np.array(region.shape) - 1)
    (top, left), (bottom, right) = index.min(0), index.max(0)
    # nothing farther away than two pixels reaches the contour
    around = np.zeros((bottom - top + 5, right - left + 5), bool)
    part = region[max(0, top - 2) : bottom + 3, max(0, left - 2) : right + 3]
    shift = max(0, 2 - top), max(0, 2 - left)
    around[shift[0] : shift[0] + part.shape[0], shift[1] : shift[1] + part.shape[1]] = part
    rows, columns = (index - [top, left]).T
    return contour[around[rows[:, None] + _NEAR[:, 0], columns[:, None] + _NEAR[:, 1]].any(1)]


def disk_diameters_mm(contour: np.ndarray, axis: LongAxis, *, level: bool = True) -> np.ndarray:
    """Return the widths of `NUM_DISKS` disks across the long axis, annulus to apex.

    Each is the cavity's width perpendicular to the axis at the disk's middle, clipped by the
    contour: the sum of the pieces inside it. An annulus line that slants against the axis takes a
    wedge off the lowest disks on one side and leaves as much below them on the other; with `level`
    that wedge is given back, so that the slant costs no volume.
    """
    heights, which, places = _cuts(contour, axis)
    sides = np.ones(len(places))
    sides[::2] = -1.0  # a closed line crosses each height an even number of times
    diameters = np.bincount(which, sides * places, len(heights))
    return diameters + _wedge_mm(axis, heights) if level else diameters


def disk_lines_mm(contour: np.ndarray, axis: LongAxis) -> list[np.ndarray]:
    """Return each disk's middle line from wall to wall, `2 2` (x, y), annulus to apex.

    Between the outermost walls; a disk that the contour does not reach is left out.
    """
    normal = np.array([-axis.direction[1], axis.direction[0]])
    heights, which, places = _cuts(contour, axis)
    first = np.flatnonzero(np.diff(which, prepend=-1))
    last = np.r_[first[1:], len(which)] - 1
    return [
        axis.annulus_mid_mm + heights[which[i]] * axis.direction + np.outer(places[[i, j]], normal)
        for i, j in zip(first, last, strict=True)
    ]


def _cuts(contour: np.ndarray, axis: LongAxis) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the disks' middles along the axis, and the contour's `_crossings` of them."""
    normal = np.array([-axis.direction[1], axis.direction[0]])
    points = contour - axis.annulus_mid_mm
    along, across = points @ axis.direction, points @ normal
    heights = (np.arange(NUM_DISKS) + 0.5) / NUM_DISKS * axis.length_mm
    return heights, *_crossings(along, across, heights)


def _wedge_mm(axis: LongAxis, heights: np.ndarray) -> np.ndarray:
    """Return what a slanted annulus line took off each disk's width; 0 where it is not the base."""
    first, last = (axis.hinges_mm - axis.annulus_mid_mm) @ axis.direction
    rise = abs(last - first) / 2
    straight = abs(first + last) / 2 < 0.03 * axis.length_mm
    half = float(np.linalg.norm(axis.hinges_mm[1] - axis.hinges_mm[0])) / 2
    if not straight or not 0 < rise < min(0.2 * axis.length_mm, half):
        return np.zeros(len(heights))
    return np.sqrt(half**2 - rise**2) * np.clip(1 - heights / rise, 0, 1)


def disk_volume_ml(
    diameters_mm: np.ndarray, length_mm: float, other_diameters_mm: np.ndarray | None = None
) -> float:
    """Return the volume of disks of equal height, V = pi/4 (L/N) sum a_i b_i.

    With one plane the disks are round, b_i = a_i. With two, `length_mm` is the longer long axis.

    Reference:
        Lang et al., J Am Soc Echocardiogr 28 (2015), 1-39: disk summation, one plane or biplane.

    Raises:
        ArgumentError: If the length is negative, or the planes differ in number of disks.
    """
    if length_mm < 0:
        raise ArgumentError(f"length_mm must not be negative, got {length_mm:g}")
    other = diameters_mm if other_diameters_mm is None else other_diameters_mm
    if len(other) != len(diameters_mm):
        raise ArgumentError(
            f"other_diameters_mm must be of {len(diameters_mm)} disks too, got {len(other)}"
        )
    products = np.asarray(diameters_mm) * np.asarray(other)
    return float(math.pi / 4 * np.mean(products) * length_mm / MM3_PER_ML)


def area_length_volume_ml(area_mm2: float, length_mm: float) -> float:
    """Return V = 8 A^2 / (3 pi L), exact for any ellipsoid of revolution and its half.

    Reference:
        Lang et al., J Am Soc Echocardiogr 28 (2015), 1-39: area-length, one plane.

    Raises:
        ArgumentError: If the length is not positive.
    """
    if not length_mm > 0:
        raise ArgumentError(f"length_mm must be positive, got {length_mm:g}")
    return 8 * area_mm2**2 / (3 * math.pi * length_mm) / MM3_PER_ML


def polygon_area_mm2(contour: np.ndarray) -> float:
    """Return the area inside a closed line `P 2`."""
    x, y = (contour - contour.mean(0)).T
    return abs(float(x @ _next(y) - y @ _next(x))) / 2


def line_over_apex_mm(contour: np.ndarray, axis: LongAxis, smoothing_mm: float) -> np.ndarray:
    """Return the open line `P 2` along a contour from hinge over apex to hinge, evenly spaced.

    A Gaussian of standard deviation `smoothing_mm` takes the pixels' stairs off, which would make
    a line up to 8 % too long; applied twice over (2 g - g g) it does not shrink a curve, and both
    ends stay where they are.
    """
    ends = [int(np.linalg.norm(contour - hinge, axis=1).argmin()) for hinge in axis.hinges_mm]
    top = int(np.linalg.norm(contour - axis.apex_mm, axis=1).argmin())
    closed = contour[:-1] if (contour[0] == contour[-1]).all() else contour
    size = len(closed)
    first, last, top = ends[0] % size, ends[1] % size, top % size
    if (top - first) % size > (last - first) % size:  # runs the other way
        first, last = last, first
    piece = closed[(first + np.arange((last - first) % size + 1)) % size]
    steps = np.r_[0, np.cumsum(np.linalg.norm(np.diff(piece, axis=0), axis=1))]
    places = np.linspace(0, steps[-1], _LINE_POINTS)
    even = np.stack([np.interp(places, steps, piece[:, axis]) for axis in (0, 1)], 1)
    return _smoothed(even, smoothing_mm / max(steps[-1] / (_LINE_POINTS - 1), 1e-9))


def _smoothed(line: np.ndarray, width: float) -> np.ndarray:
    """Return an open line smoothed by 2 g - g g, its ends kept; `width` in points."""
    width = min(width, len(line) / 8)
    pad = min(len(line) - 1, 2 * int(_TRUNCATE * width + 0.5))  # as far as both filters reach
    before, after = 2 * line[0] - line[pad:0:-1], 2 * line[-1] - line[-2 : -2 - pad : -1]
    whole = np.concatenate([before, line, after]).T.copy()
    once = ndimage.gaussian_filter1d(whole, width, truncate=_TRUNCATE)
    twice = ndimage.gaussian_filter1d(once, width, truncate=_TRUNCATE)
    return (2 * once - twice)[:, pad : pad + len(line)].T


def line_length_mm(line: np.ndarray) -> float:
    """Return the length of an open line `P 2`."""
    return float(np.linalg.norm(np.diff(line, axis=0), axis=1).sum())

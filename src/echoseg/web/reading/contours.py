"""The curves of a frame: fitted to its label map, or as a reader drew them.

A curve that was not edited changes no pixel. One that was moves the pixels between it and the curve
that was shown before, and no others.
"""

from collections.abc import Mapping
from weakref import WeakKeyDictionary, ref

import numpy as np

from echoseg.box import region_box
from echoseg.measure.frame import MeasuredFrame
from echoseg.measure.geometry import LongAxis, mask_contour_mm
from echoseg.web.api import Contour, Point, PointKind, Structure
from echoseg.web.reading.regions import STRUCTURES, region_of, set_region
from echoseg.web.reading.spline import fill_curve, fit_curve, spread
from echoseg.web.refusal import Refusal

NUM_POINTS = (14, 16, 20, 24, 32)
"""Numbers of control points that are tried, until the curve's Dice with the mask is enough."""
MIN_DICE = 0.992
MARGIN_PX = 8
MIN_PIXELS = 12
"""Pixels of a region below which it has no curve."""
_UNIT = (1.0, 1.0)

Points = tuple[Point, ...]
Drawn = dict[Structure, Points]
"""Control points of the curves of a frame that a reader drew."""
_FITTED: WeakKeyDictionary[MeasuredFrame, dict[Structure, Contour | None]] = WeakKeyDictionary()
_BEFORE: WeakKeyDictionary[MeasuredFrame, ref[MeasuredFrame]] = WeakKeyDictionary()


def frame_contours(
    frame: MeasuredFrame, drawn: Drawn, *, is_reader: bool
) -> dict[Structure, Contour]:
    """The curves of a frame.

    Args:
        frame: The frame, measured.
        drawn: Curves that a reader drew, which are given back as they are.
        is_reader: Whether a reader changed the frame.
    """
    contours: dict[Structure, Contour] = {}
    for structure in STRUCTURES:
        contour = frame_contour(frame, structure, drawn.get(structure))
        if contour is not None:
            contours[structure] = contour.model_copy(update={"is_reader": is_reader})
    return contours


def frame_contour(
    frame: MeasuredFrame, structure: Structure, drawn: Points | None = None
) -> Contour | None:
    """The curve of a structure; None where it is not there.

    Args:
        frame: The frame, measured; its fitted curves are remembered as long as it lives.
        structure: The structure.
        drawn: Its control points, where a reader drew it.
    """
    if drawn is not None:
        return Contour(points=drawn, kinds=_kinds(np.array(drawn), structure, _axis(frame)))
    known = _FITTED.setdefault(frame, {})
    if structure not in known:
        known[structure] = _fitted(frame, structure)
    return known[structure]


def follows(frame: MeasuredFrame, before: MeasuredFrame) -> None:
    """Note which frame one was edited from: curves of what did not change are not fitted anew."""
    _BEFORE[frame] = ref(before)


def remember(frame: MeasuredFrame, contours: Mapping[Structure, Contour]) -> None:
    """Take over the curves of a frame that were fitted before."""
    _FITTED[frame] = {one: contours.get(one) for one in STRUCTURES}


def pixel_axis(frame: MeasuredFrame) -> LongAxis:
    """The long axis of a frame's cavity in pixels."""
    assert frame.shape is not None
    row_mm, column_mm = frame.spacing_mm or _UNIT
    scale, axis = np.array([column_mm, row_mm]), frame.shape.axis
    return LongAxis(
        hinges_mm=axis.hinges_mm / scale,
        annulus_mid_mm=axis.annulus_mid_mm / scale,
        apex_mm=axis.apex_mm / scale,
    )


def _axis(frame: MeasuredFrame) -> LongAxis | None:
    return None if frame.shape is None else pixel_axis(frame)


def _fitted(frame: MeasuredFrame, structure: Structure) -> Contour | None:
    """The curve with few points that fits a structure; None where it is too small.

    Where neither the region nor the places that the curve passes have changed since the frame was
    edited, it is that of the frame before.
    """
    region, axis = region_of(frame.mask, structure), _axis(frame)
    if np.count_nonzero(region) < MIN_PIXELS:
        return None
    before = _BEFORE[frame]() if frame in _BEFORE else None
    known, other = _FITTED.get(before, {}) if before else {}, None
    if before and known.get(structure):
        is_same = np.array_equal(region, region_of(before.mask, structure))
        other = _axis(before) if is_same else None
    if axis and other and _is_same(axis, other):
        return known[structure]
    contour = mask_contour_mm(region, _UNIT)[:-1]
    anchors = _anchors(contour, structure, axis)
    if other and anchors == _anchors(contour, structure, other):
        return known[structure]
    return _fitted_at(contour, anchors, region)


def _is_same(one: LongAxis, other: LongAxis) -> bool:
    names = ("hinges_mm", "annulus_mid_mm", "apex_mm")
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in names)


def _fitted_at(
    contour: np.ndarray, anchors: dict[PointKind, int], region: np.ndarray
) -> Contour | None:
    """The curve with few points that fits the outline of a region at some places of it."""
    rows, columns = region_box(region)
    origin = np.array([columns.start - MARGIN_PX, rows.start - MARGIN_PX])
    crop = np.pad(region[rows, columns], MARGIN_PX)
    places = sorted(set(anchors.values()))
    points = contour[:0]
    for num_points in NUM_POINTS:
        if num_points > len(contour):
            break
        points = fit_curve(contour, places, num_points)
        if _dice(fill_curve(points - origin, crop.shape), crop) >= MIN_DICE:
            break
    if not len(points):
        return None
    kinds: list[PointKind] = [""] * len(points)
    starts = np.cumsum([0, *_counts(contour, places, len(points))[:-1]])
    for kind, place in anchors.items():
        kinds[int(starts[places.index(place)])] = kind
    return Contour(points=_rounded(points), kinds=tuple(kinds))


def _counts(contour: np.ndarray, places: list[int], num_points: int) -> list[int]:
    """Number of points from each anchor to before the next, as `fit_curve` spreads them."""
    closed = np.concatenate([contour, contour[:1]])
    lengths = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(closed, axis=0), axis=1))])
    total, start = float(lengths[-1]), float(lengths[places[0]]) if places else 0.0
    wanted = np.array([(lengths[one] - start) % total for one in places] or [0.0])
    return spread(wanted, total, num_points)


def _anchors(
    contour: np.ndarray, structure: Structure, axis: LongAxis | None
) -> dict[PointKind, int]:
    """Index of the contour's point nearest to each named one: both hinges, and the apex."""
    if axis is None:
        return {}
    left, right = axis.hinges_mm[np.argsort(axis.hinges_mm[:, 0])]
    named: dict[PointKind, np.ndarray] = {"septal": left, "lateral": right}
    if structure == "lv_cavity":
        named["apex"] = axis.apex_mm
    elif structure == "lv_epi":
        away = (contour - axis.annulus_mid_mm) @ axis.direction
        named["apex"] = contour[int(away.argmax())]
    indices: dict[PointKind, int] = {
        kind: int(np.linalg.norm(contour - point, axis=1).argmin()) for kind, point in named.items()
    }
    return indices if len(set(indices.values())) == len(indices) else {}


def _kinds(
    points: np.ndarray, structure: Structure, axis: LongAxis | None
) -> tuple[PointKind, ...]:
    """What each drawn point is: the nearest to each named one."""
    kinds: list[PointKind] = [""] * len(points)
    for kind, index in _anchors(points, structure, axis).items():
        kinds[index] = kind
    return tuple(kinds)


def _rounded(points: np.ndarray) -> Points:
    return tuple((round(float(x), 2), round(float(y), 2)) for x, y in points)


def _dice(one: np.ndarray, other: np.ndarray) -> float:
    total = np.count_nonzero(one) + np.count_nonzero(other)
    return 2 * np.count_nonzero(one & other) / total if total else 1.0


def draw_contour(
    frame: MeasuredFrame, structure: Structure, points: Points, current: Contour | None
) -> np.ndarray:
    """The label map of a frame whose curve was drawn anew.

    Args:
        frame: The frame before.
        structure: What the curve encloses.
        points: Control points; none: the structure is not there.
        current: The curve before; None where there was none.

    Raises:
        Refusal: With 422, if the curve encloses nothing of the picture.
    """
    mask = frame.mask
    before = region_of(mask, structure)
    if not points:
        return set_region(mask, structure, np.zeros_like(before))
    drawn = fill_curve(np.array(points, float), mask.shape)
    if np.count_nonzero(drawn) < MIN_PIXELS:
        raise Refusal(
            422, "The curve must enclose some of the picture; draw it larger, or remove it."
        )
    if current is None:
        return set_region(mask, structure, drawn)
    changes = drawn ^ fill_curve(np.array(current.points, float), mask.shape)
    return set_region(mask, structure, np.where(changes, drawn, before))

"""Closed smooth curves: a periodic cubic spline through few points, and the points for a contour.

The knots are the cumulative chord lengths of the points, as on the page, so that both draw the same
curve. Points are (x, y) in pixels, pixel centers at whole numbers.
"""

import numpy as np
from scipy.interpolate import CubicSpline

STEP_PX = 0.5
"""Largest length of a segment of the polygon that stands for a curve."""
_MAX_STEPS = 400
_NUM_SAMPLES = 120
_ROUNDS = 2


def sample_curve(points: np.ndarray) -> np.ndarray:
    """The curve through `P 2` points as a polygon `N 2`; fewer than 3 are returned as they are."""
    is_new = np.any(points != np.roll(points, 1, 0), axis=1)
    corners = points[is_new]
    if len(corners) < 3:
        return points
    closed = np.concatenate([corners, corners[:1]])
    chords = np.linalg.norm(np.diff(closed, axis=0), axis=1)
    knots = np.concatenate([[0.0], np.cumsum(chords)])
    steps = np.clip(np.ceil(chords / STEP_PX), 2, _MAX_STEPS).astype(int)
    places = [
        knots[index] + chord * np.arange(num) / num
        for index, (chord, num) in enumerate(zip(chords, steps, strict=True))
    ]
    return CubicSpline(knots, closed, bc_type="periodic")(np.concatenate(places))


def fill_curve(points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The pixels `H W` bool whose centers lie inside the curve through `P 2` points."""
    curve = sample_curve(points)
    return fill_polygon(curve, size) if len(curve) > 2 else np.zeros(size, bool)


def fill_polygon(corners: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The pixels `H W` bool whose centers lie inside a closed polygon `N 2`, by the even-odd rule.

    Row by row between crossings: the time does not grow with the area, as that of a test per pixel
    and edge does.
    """
    rows, columns = size
    x, y = corners.T
    next_x, next_y = np.roll(x, -1), np.roll(y, -1)
    first = np.ceil(np.minimum(y, next_y)).clip(0, rows).astype(int)
    last = np.ceil(np.maximum(y, next_y)).clip(0, rows).astype(int)  # half open: no end twice
    counts = last - first
    edges = np.repeat(np.arange(len(corners)), counts)
    row = first[edges] + np.arange(len(edges)) - np.repeat(np.cumsum(counts) - counts, counts)
    slope = (next_x - x)[edges] / (next_y - y)[edges]
    crossing = x[edges] + (row - y[edges]) * slope
    order = np.lexsort((crossing, row))
    row, crossing = row[order][::2], crossing[order]
    begin = np.ceil(crossing[::2]).clip(0, columns).astype(int)
    end = (np.floor(crossing[1::2]) + 1).clip(0, columns).astype(int)
    is_any = end > begin
    inside, row, begin, end = np.zeros(size, bool), row[is_any], begin[is_any], end[is_any]
    if len(row):  # only the box of the polygon is looked at
        top, left, right = int(row[0]), int(begin.min()), int(end.max())
        changes = np.zeros((int(row[-1]) + 1 - top, right + 1 - left), np.int8)
        np.add.at(changes, (row - top, begin - left), 1)
        np.add.at(changes, (row - top, end - left), -1)
        filled = np.cumsum(changes[:, :-1], axis=1, dtype=np.int8) > 0
        inside[top : top + len(filled), left:right] = filled
    return inside


def fit_curve(contour: np.ndarray, anchors: list[int], num_points: int) -> np.ndarray:
    """The points whose curve is nearest to a contour, by least squares.

    Args:
        contour: Closed line `N 2`, the first point not repeated.
        anchors: Indices of contour points, increasing, near which a point must lie; may be empty.
        num_points: Number of points; they are spread over the contour between the anchors.

    Returns:
        `P 2`, in the contour's direction, beginning with the first anchor. The points of the
        anchors are those that `spread` names.
    """
    closed = np.concatenate([contour, contour[:1]])
    lengths = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(closed, axis=0), axis=1))])
    start = float(lengths[anchors[0]]) if anchors else 0.0
    total = float(lengths[-1])
    wanted = np.array([(lengths[one] - start) % total for one in anchors] or [0.0])
    marks = np.concatenate([_places(wanted, total, num_points), [total]])
    places = np.arange(_NUM_SAMPLES) * total / _NUM_SAMPLES
    at = (places + start) % total
    target = np.stack([np.interp(at, lengths, closed[:, axis]) for axis in (0, 1)], 1)
    knots, points = marks, target[:0]
    for _ in range(_ROUNDS):
        basis = CubicSpline(knots, np.eye(num_points)[np.r_[:num_points, 0]], bc_type="periodic")
        weights = basis(np.interp(places, marks, knots))  # (N, P)
        points = np.linalg.lstsq(weights, target, rcond=None)[0]
        chords = np.linalg.norm(np.diff(points[np.r_[:num_points, 0]], axis=0), axis=1)
        knots = np.concatenate([[0.0], np.cumsum(np.maximum(chords, 1e-6))])
    return points


def _places(anchors: np.ndarray, total: float, num_points: int) -> np.ndarray:
    """Lengths along a closed line at which points lie, the anchors among them."""
    counts = spread(anchors, total, num_points)
    ends = [*anchors[1:], total]
    parts = [
        first + (last - first) * np.arange(count) / count
        for first, last, count in zip(anchors, ends, counts, strict=True)
    ]
    return np.concatenate(parts)


def spread(anchors: np.ndarray, total: float, num_points: int) -> list[int]:
    """Number of points from each anchor to before the next, at least one, by the lengths."""
    gaps = np.diff([*anchors, total])
    counts = np.ones(len(gaps), int)
    while counts.sum() < num_points:
        counts[int((gaps / counts).argmax())] += 1
    return counts.tolist()

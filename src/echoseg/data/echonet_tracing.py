"""Tracings of EchoNet-Dynamic: a long axis, chords across it, and the mask that they enclose.

A tracing is `N 4` (x1, y1, x2, y2) in pixels, the centre of pixel [row, column] at (column, row).
Row 0 is the long axis from the apex to the middle of the annulus; the others are chords across it,
from apex to base, each from the left wall to the right.

Reference:
    Ouyang et al., Nature 580:252-256, 2020.
"""

import numpy as np

from echoseg.clip import Label
from echoseg.measure.geometry import NUM_DISKS, long_axis, mask_contour_mm

_ENDS = 0.01
"""Position of the first chord along the axis, and of the last from the other end.

Not the middles of the disks, since the polygon through the chords' ends would lose half a disk at
each end.
"""
_INSET_PX = 0.01
"""Inset of a chord's ends. A mask's border lies half-way between two pixels, and the rasteriser
must round it to the inner one."""


def mask_from_tracing(
    x1: np.ndarray, y1: np.ndarray, x2: np.ndarray, y2: np.ndarray, height: int, width: int
) -> np.ndarray:
    """Rasterise a tracing, `height width` bool, as the data set's authors do.

    The polygon runs down the chords' first ends and up their second ones, corners rounded to
    whole pixels (halves to the even one); pixels on its border belong to it.
    """
    from skimage.draw import polygon

    columns = np.rint(np.concatenate((x1[1:], x2[:0:-1])))
    rows = np.rint(np.concatenate((y1[1:], y2[:0:-1])))
    mask = np.zeros((height, width), bool)
    mask[polygon(rows, columns, mask.shape)] = True
    return mask


def tracing_area_px(chords: np.ndarray) -> float:
    """Area in square pixels of the polygon through the chords' ends, not rounded."""
    points = np.concatenate((chords[1:, :2], chords[:0:-1, 2:]))
    x, y = points.T
    return abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2


def tracing_from_mask(mask: np.ndarray, num_chords: int = NUM_DISKS) -> np.ndarray:
    """Compute the tracing `1 + num_chords 4` of the cavity in a label map `H W`.

    Raises:
        MeasurementError: If the cavity is empty.
    """
    contour = mask_contour_mm(mask == Label.LV_CAVITY, (1, 1))
    axis = long_axis(mask, (1, 1))
    length_px = max(axis.length_mm, 1e-9)  # the spacing is 1
    down = (axis.annulus_mid_mm - axis.apex_mm) / length_px
    right = np.array([down[1], -down[0]])
    along, across = (contour - axis.apex_mm) @ down, (contour - axis.apex_mm) @ right
    next_along, next_across = np.roll(along, -1), np.roll(across, -1)
    rows = [np.concatenate((axis.apex_mm, axis.annulus_mid_mm))]
    for height in np.linspace(_ENDS, 1 - _ENDS, num_chords) * length_px:
        crosses = (along <= height) != (next_along <= height)
        fraction = (height - along[crosses]) / (next_along[crosses] - along[crosses])
        cuts = across[crosses] + fraction * (next_across[crosses] - across[crosses])
        if cuts.size:
            inset = min(_INSET_PX, np.ptp(cuts) / 2)
            middle = axis.apex_mm + height * down
            ends = (middle + (cuts.min() + inset) * right, middle + (cuts.max() - inset) * right)
            rows.append(np.concatenate(ends))
    return np.stack(rows)

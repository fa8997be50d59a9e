"""What moves beside the fan, outside of it: an ECG or another trace, a clock, a counter.

A sector is convex, so along the rows it becomes wider, then narrower, and never wider again. What
comes after such a neck, is low and as wide as the sector, is a trace; so is what is small and
apart from the rest. A fan of rays and arcs is not fitted: on a dark or cut picture the best one
leaves tissue out (its overlap with what moves is 0.90 on pydicom's `ybr_color`, 0.98 on a bright
clip), while the convex hull of what remains here holds all of it.
"""

import numpy as np
from scipy import ndimage

_MAX_NECK, _MIN_EXTENT = 0.85, 0.9
"""Shares of a width: of the neck in what lies on both sides of it; of half the rows of a trace in
its widest, and of the trace in the rest."""
_MIN_ASPECT, _MAX_PART, _SMALL_PART = 4, 1.0, 0.05
"""Width over height of a trace, where a fan has less than 3; area of a trace, and of what is small,
in that of the rest."""


def without_strips(moving: np.ndarray, *, small: bool = True) -> np.ndarray:
    """What moves, `H W` bool, without traces at its four sides, and without small things below."""
    for turns in range(4):
        turned = np.rot90(moving, turns).copy()
        turned[_end(turned, small and not turns) :] = False
        moving = np.rot90(turned, -turns)
    return moving


def _end(moving: np.ndarray, small: bool) -> int:
    """The row from which no part of the sector follows."""
    solid = np.asarray(ndimage.binary_opening(moving, np.ones((3, 3))), bool)
    end, places = len(solid), np.arange(solid.shape[1])
    first = np.where(solid, places, len(places)).min(1)
    widths = np.maximum(0, np.where(solid, places + 1, 0).max(1) - first)  # (H,)
    above = np.maximum.accumulate(widths)
    below = np.maximum.accumulate(widths[::-1])[::-1]
    narrower = np.minimum(above, below)
    for neck in np.nonzero((widths <= _MAX_NECK * narrower) & (narrower > 0))[0][::-1]:
        part, rest = widths[neck:end].sum(), widths[:neck].sum()
        is_small = small and not widths[neck] and part < _SMALL_PART * rest
        last = widths[:neck][widths[:neck] > 0][-1]  # a rectangle does not narrow to its end
        is_trace = (
            last <= _MAX_NECK * above[neck]
            and part < _MAX_PART * rest
            and _is_trace(widths[neck:end], int(above[neck]))
        )
        end = int(neck) if is_small or is_trace else end
    return end


def _is_trace(strip: np.ndarray, width_above: int) -> bool:
    """Whether rows of these widths are those of a trace below a sector of such a width."""
    widest, height = strip.max(initial=0), np.count_nonzero(strip)
    is_level = np.count_nonzero(strip >= _MIN_EXTENT * widest) >= 0.5 * height
    is_wide = widest >= max(_MIN_EXTENT * width_above, _MIN_ASPECT * height)
    return bool(widest and is_level and is_wide)

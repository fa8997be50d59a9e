"""The box around a region, so that only a part of the picture is looked at."""

import numpy as np


def region_box(region: np.ndarray, margin: int = 0) -> tuple[slice, slice]:
    """Rows and columns of the pixels of `H W` that are not 0, with a margin inside the picture.

    Without any such pixel both are empty.
    """
    rows = np.flatnonzero(region.any(1))
    if not rows.size:
        return slice(0, 0), slice(0, 0)
    top, bottom = int(rows[0]), int(rows[-1]) + 1
    columns = np.flatnonzero(region[top:bottom].any(0))
    left, right = int(columns[0]), int(columns[-1]) + 1
    return (
        slice(max(0, top - margin), min(region.shape[0], bottom + margin)),
        slice(max(0, left - margin), min(region.shape[1], right + margin)),
    )

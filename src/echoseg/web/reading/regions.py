"""A label map as three regions that a reader draws, and back: a changed region moves its neighbors.

`lv_cavity` is the cavity, `lv_epi` the cavity and its wall, `la` the left atrium. The cavity lies
inside the epicardium, and the atrium overlaps neither.
"""

from typing import get_args

import numpy as np
from scipy import ndimage

from echoseg.clip import Label
from echoseg.measure.clean import clean_mask
from echoseg.web.api import Structure

STRUCTURES: tuple[Structure, ...] = get_args(Structure)
LABELS: dict[Structure, tuple[Label, ...]] = {
    "lv_cavity": (Label.LV_CAVITY,),
    "lv_epi": (Label.LV_CAVITY, Label.LV_MYOCARDIUM),
    "la": (Label.LA_CAVITY,),
}
"""Labels inside each curve."""
_OWN: dict[Structure, Label] = {
    "lv_cavity": Label.LV_CAVITY,
    "lv_epi": Label.LV_MYOCARDIUM,
    "la": Label.LA_CAVITY,
}
_YIELDS: dict[Structure, tuple[Label, ...]] = {
    "lv_cavity": (Label.BACKGROUND, Label.LV_MYOCARDIUM, Label.LA_CAVITY),
    "lv_epi": (Label.BACKGROUND, Label.LA_CAVITY),
    "la": (Label.BACKGROUND,),
}
"""Labels that give way to a structure that grows."""
_FALLS_TO: dict[Structure, tuple[Label, ...]] = {
    "lv_cavity": (Label.BACKGROUND, Label.LV_MYOCARDIUM, Label.LA_CAVITY),
    "lv_epi": (Label.BACKGROUND, Label.LA_CAVITY),
    "la": (Label.BACKGROUND,),
}
"""Labels of which a structure that shrinks leaves the nearest behind."""


def region_of(mask: np.ndarray, structure: Structure) -> np.ndarray:
    """Pixels inside the curve of a structure, `H W` bool."""
    first, *others = LABELS[structure]
    region = mask == first
    for label in others:
        region |= mask == label
    return region


def set_region(mask: np.ndarray, structure: Structure, region: np.ndarray) -> np.ndarray:
    """A label map whose structure is a region, as far as its neighbors give way.

    Pixels that a structure leaves take the label nearest to them: of the cavity the wall's at its
    sides and the atrium's at the annulus. Nothing else changes but stray pieces, which are removed.

    Args:
        mask: `H W` uint8, values of `Label`.
        structure: What changes.
        region: `H W` bool; empty: the structure is not there.
    """
    before, own = region_of(mask, structure), _OWN[structure]
    changed = mask.copy()
    grows = region & ~before & np.isin(mask, _YIELDS[structure])
    leaves = before & ~region & (mask == own)
    changed[grows] = own
    if not region.any():
        changed[leaves] = Label.BACKGROUND
    elif leaves.any():
        _leave(changed, leaves, _FALLS_TO[structure])
    return clean_mask(changed)


def _leave(mask: np.ndarray, leaves: np.ndarray, labels: tuple[Label, ...]) -> None:
    """Give pixels the nearest of some labels, in place."""
    rows, columns = np.flatnonzero(leaves.any(1)), np.flatnonzero(leaves.any(0))
    reach = max(len(rows), len(columns)) + 2
    box = (
        slice(max(0, rows[0] - reach), rows[-1] + 1 + reach),
        slice(max(0, columns[0] - reach), columns[-1] + 1 + reach),
    )
    crop, released = mask[box], leaves[box]
    others = np.isin(crop, labels) & ~released
    if not others.any():
        crop[released] = Label.BACKGROUND
        return
    nearest = np.asarray(
        ndimage.distance_transform_edt(~others, return_distances=False, return_indices=True)
    )
    crop[released] = crop[tuple(nearest[:, released])]


def brushed(
    region: np.ndarray, line: np.ndarray, radius_px: float, *, is_erasing: bool
) -> np.ndarray:
    """A region `H W` with a stroke added or erased: all within a radius of a line `N 2` (x, y)."""
    rows, columns = region.shape
    low = np.floor(line.min(0) - radius_px).astype(int).clip(0)
    high = np.ceil(line.max(0) + radius_px).astype(int) + 1
    left, top = int(low[0]), int(low[1])
    right, bottom = min(columns, int(high[0])), min(rows, int(high[1]))
    result = region.copy()
    if left >= right or top >= bottom:
        return result
    y, x = np.mgrid[top:bottom, left:right]
    stroke = np.zeros(x.shape, bool)
    for start, end in zip(line, line[1:] if len(line) > 1 else line, strict=False):
        along = end - start
        size = float(along @ along)
        share = ((x - start[0]) * along[0] + (y - start[1]) * along[1]) / size if size else 0.0
        share = np.clip(share, 0, 1)
        away = np.hypot(x - start[0] - share * along[0], y - start[1] - share * along[1])
        stroke |= away <= radius_px
    part = result[top:bottom, left:right]
    part[stroke] = not is_erasing
    return result

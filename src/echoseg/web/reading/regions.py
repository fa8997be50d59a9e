"""A label map as three regions that a reader draws, and back: a changed region moves its neighbors.

`lv_cavity` is the cavity, `lv_epi` the cavity and its wall, `la` the left atrium. The cavity lies
inside the epicardium, and the atrium overlaps neither.
"""

from typing import get_args

import numpy as np
from scipy import ndimage

from echoseg.box import region_box
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
_NEIGHBORS: dict[Structure, tuple[Label, ...]] = {
    "lv_cavity": (Label.BACKGROUND, Label.LV_MYOCARDIUM, Label.LA_CAVITY),
    "lv_epi": (Label.BACKGROUND, Label.LA_CAVITY),
    "la": (Label.BACKGROUND,),
}
"""Labels that give way to a structure that grows; one that shrinks leaves the nearest behind."""
_IS_NEIGHBOR = {one: np.isin(range(len(Label)), labels) for one, labels in _NEIGHBORS.items()}
_MARGIN_PX = 4
"""Pixels about those that a structure leaves in which the nearest label is looked for first."""


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
    changed, own = mask.copy(), _OWN[structure]
    is_neighbor, changes = _IS_NEIGHBOR[structure], region_of(mask, structure) ^ region
    box, leaves = region_box(changes), np.zeros_like(changes)
    part, inside = changed[box], region[box]
    leaves[box] = changes[box] & ~inside & (part == own)
    part[changes[box] & inside & is_neighbor[part]] = own
    if not region.any():
        changed[leaves] = Label.BACKGROUND
    elif leaves.any():
        _leave(changed, leaves, is_neighbor)
    return clean_mask(changed)


def _leave(mask: np.ndarray, leaves: np.ndarray, is_neighbor: np.ndarray) -> None:
    """Give pixels the nearest label of some, in place; the box that is searched grows as needed."""
    reach, margin = 2 + max(line.stop - line.start for line in region_box(leaves)), _MARGIN_PX
    while True:
        margin = min(margin, reach)
        box = region_box(leaves, margin)
        crop, released = mask[box], leaves[box]
        others = is_neighbor[crop] & ~released
        if others.any():
            nearest = np.asarray(
                ndimage.distance_transform_edt(~others, return_distances=False, return_indices=True)
            )[:, released]
            steps = nearest - np.array(np.nonzero(released))
            if margin == reach or np.hypot(*steps).max() <= margin:  # nothing outside is nearer
                crop[released] = crop[tuple(nearest)]
                return
        elif margin == reach:
            crop[released] = Label.BACKGROUND
            return
        margin *= 2


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

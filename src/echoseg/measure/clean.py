"""One cavity, one atrium: what is left of a mask after stray pieces are taken away."""

import numpy as np
from scipy import ndimage
from skimage.measure import label as connected

from echoseg.anatomy import Label


def keep_largest(region: np.ndarray) -> np.ndarray:
    """Return the largest 4-connected piece of a boolean mask, its holes filled."""
    pieces = np.asarray(connected(region, connectivity=1))
    sizes = np.bincount(pieces.ravel())[1:]
    if not sizes.size:
        return region
    return np.asarray(ndimage.binary_fill_holes(pieces == 1 + int(sizes.argmax())))


def clean_masks(masks: np.ndarray) -> np.ndarray:
    """Keep one LV cavity and one LA cavity a frame, `T H W`; other pixels become background."""
    cleaned = masks.copy()
    for mask in cleaned:
        for label in (Label.LA_CAVITY, Label.LV_CAVITY):
            region = mask == label
            kept = keep_largest(region)
            mask[region & ~kept] = Label.BACKGROUND
            mask[kept] = label
    return cleaned

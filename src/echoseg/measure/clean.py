"""One cavity, one atrium: what is left of a mask after stray pieces are taken away."""

import numpy as np
from scipy import ndimage
from skimage.measure import label as connected

from echoseg.clip import Label
from echoseg.frame_store import FrameStore, each


def keep_largest(region: np.ndarray) -> np.ndarray:
    """The largest 4-connected piece of a boolean mask `(H, W)`, its holes filled."""
    rows, columns = np.flatnonzero(region.any(1)), np.flatnonzero(region.any(0))
    if not rows.size:
        return region
    # only the box around it is looked at: filling holes takes as long as the picture is large
    box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    pieces = np.asarray(connected(region[box], connectivity=1))
    largest = 1 + int(np.bincount(pieces.ravel())[1:].argmax())
    component = np.zeros_like(region)
    component[box] = ndimage.binary_fill_holes(pieces == largest)
    return component


def clean_mask(mask: np.ndarray) -> np.ndarray:
    """Keep one LV cavity and one LA cavity, `H W`; other pixels become background."""
    cleaned = mask.copy()
    for label in (Label.LA_CAVITY, Label.LV_CAVITY):
        region = cleaned == label
        component = keep_largest(region)
        cleaned[region & ~component] = Label.BACKGROUND
        cleaned[component] = label
    return cleaned


def clean_masks(masks: np.ndarray) -> np.ndarray:
    """Keep one LV cavity and one LA cavity per frame, `T H W`, as `clean_mask` does."""
    with FrameStore() as store:
        for mask in each(masks):
            store.add(clean_mask(mask))
        return store.frames()

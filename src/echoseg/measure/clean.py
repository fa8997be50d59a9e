"""One cavity, one atrium: what is left of a mask after stray pieces are taken away."""

import numpy as np
from scipy import ndimage

from echoseg.box import region_box
from echoseg.clip import Label
from echoseg.frame_store import FrameStore, each


def keep_largest(region: np.ndarray) -> np.ndarray:
    """The largest 4-connected piece of a boolean mask `(H, W)`, its holes filled."""
    if not region.any():
        return region
    pieces, num_pieces = ndimage.label(region)  # type: ignore[misc]
    largest = 1 + int(np.bincount(pieces.ravel())[1:].argmax()) if num_pieces > 1 else 1
    around = np.ones((region.shape[0] + 2, region.shape[1] + 2), bool)
    np.not_equal(pieces, largest, out=around[1:-1, 1:-1])
    # what is not joined to the pixels around the picture is a hole, or the piece
    outside, num_outside = ndimage.label(around)  # type: ignore[misc]
    return pieces == largest if num_outside == 1 else (outside != outside[0, 0])[1:-1, 1:-1]


def clean_mask(mask: np.ndarray) -> np.ndarray:
    """Keep one LV cavity and one LA cavity, `H W`; other pixels become background."""
    cleaned = mask.copy()
    for label in (Label.LA_CAVITY, Label.LV_CAVITY):
        box = region_box(cleaned == label)  # filling holes takes as long as what is looked at
        part = cleaned[box]
        region = part == label
        component = keep_largest(region)
        part[region & ~component] = Label.BACKGROUND
        part[component] = label
    return cleaned


def clean_masks(masks: np.ndarray) -> np.ndarray:
    """Keep one LV cavity and one LA cavity per frame, `T H W`, as `clean_mask` does."""
    with FrameStore() as store:
        for mask in each(masks):
            store.add(clean_mask(mask))
        return store.frames()

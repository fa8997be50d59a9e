"""One cavity, one atrium: what is left of a mask after stray pieces are taken away."""

import numpy as np
from skimage.measure import label as connected

from echoseg.box import region_box
from echoseg.clip import Label
from echoseg.frame_store import FrameStore, each


def keep_largest(region: np.ndarray) -> np.ndarray:
    """The largest 4-connected piece of a boolean mask `(H, W)`, its holes filled."""
    if not region.any():
        return region
    pieces = np.asarray(connected(region, connectivity=1))
    largest = 1 + int(np.bincount(pieces.ravel())[1:].argmax())
    # what is not joined to the pixels around the picture is a hole, or the piece
    outside = np.asarray(
        connected(np.pad(pieces != largest, 1, constant_values=True), connectivity=1)
    )
    return (outside != outside[0, 0])[1:-1, 1:-1]


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

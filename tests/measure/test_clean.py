"""The largest piece, its holes filled: the same as on the whole picture."""

import numpy as np
import pytest
from scipy import ndimage
from skimage.measure import label

from echoseg.measure.clean import clean_mask, keep_largest


def plainly(region):
    pieces = label(region, connectivity=1)
    sizes = np.bincount(pieces.ravel())[1:]
    return ndimage.binary_fill_holes(pieces == 1 + sizes.argmax()) if sizes.size else region


@pytest.mark.parametrize("seed", range(12))
def test_looking_at_the_box_alone_changes_nothing(seed):
    noise = np.random.default_rng(seed).normal(size=(40, 55))
    region = ndimage.gaussian_filter(noise, 1 + seed % 3) > 0.03 * (seed % 4)
    region[: seed % 5] = False  # some touch the edge, some do not
    assert np.array_equal(clean_mask(region.astype(np.uint8)), plainly(region))
    labels = np.where(region, 1, np.where(region[::-1], 3, 2 * (noise > 0))).astype(np.uint8)
    whole = labels.copy()
    for value in (3, 1):
        pieces = whole == value
        whole[pieces] = 0
        whole[plainly(pieces)] = value
    assert np.array_equal(clean_mask(labels), whole)


def test_a_ring_at_the_edge_is_filled_and_nothing_stays_nothing():
    ring = np.zeros((6, 6), bool)
    ring[0:4, 0:4] = True
    ring[1:3, 1:3] = False
    assert keep_largest(ring).sum() == 16
    assert not keep_largest(np.zeros((4, 4), bool)).any()

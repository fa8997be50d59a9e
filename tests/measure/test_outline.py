"""Outlines of regions: those of scikit-image, corner by corner."""

import numpy as np
import pytest
from scipy import ndimage
from skimage.measure import find_contours

from echoseg.measure.outline import trace_outline


def plainly(region):
    return max(find_contours(np.pad(region, 1).astype(float), 0.5), key=len) - 1


@pytest.mark.parametrize("seed", range(40))
def test_the_longest_outline_is_the_one_of_scikit_image(seed):
    noise = np.random.default_rng(seed).normal(size=(3 + seed, 47 - seed))
    region = ndimage.gaussian_filter(noise, seed % 4) > 0.05 * (seed % 3 - 1)
    region[1, 1] = True
    assert np.array_equal(trace_outline(region), plainly(region))


@pytest.mark.parametrize("size", [(1, 1), (1, 4), (3, 2)])
def test_a_region_that_fills_the_picture_has_an_outline_all_the_same(size):
    assert np.array_equal(trace_outline(np.ones(size, bool)), plainly(np.ones(size, bool)))


def test_of_two_equally_long_outlines_it_is_the_upper_one():
    region = np.zeros((9, 9), bool)
    region[1:3, 5:7] = region[5:7, 1:3] = True
    assert np.array_equal(trace_outline(region), plainly(region))
    assert trace_outline(region)[:, 0].max() == 2.5

"""Filled curves: equal to a test of every pixel center, and much faster."""

import numpy as np
import pytest
from skimage.draw import polygon

from echoseg.web.reading.spline import fill_curve, fill_polygon, sample_curve


def by_pixels(corners, size):
    region = np.zeros(size, bool)
    region[polygon(corners[:, 1], corners[:, 0], size)] = True
    return region


@pytest.mark.parametrize("seed", range(12))
def test_curves_are_filled_as_a_test_of_each_pixel_fills_them(seed):
    rng = np.random.default_rng(seed)
    angles = np.sort(rng.uniform(0, 2 * np.pi, 14))
    radii = rng.uniform(10, 60, 14)  # some leave the picture, some cross themselves
    points = np.stack([50 + radii * np.cos(angles), 40 + radii * np.sin(angles)], 1)
    size = (90, 110)
    assert np.array_equal(fill_curve(points, size), by_pixels(sample_curve(points), size))


def test_corners_on_pixel_centers_differ_at_the_border_only():
    square = np.array([[10.0, 10.0], [20.0, 10.0], [20.0, 30.0], [10.0, 30.0]])
    region, every = fill_polygon(square, (40, 40)), by_pixels(square, (40, 40))
    assert region[11:30, 11:20].all() and not (region & ~every).any()
    assert (every & ~region).sum() <= 22  # one border row


def test_what_lies_outside_of_the_picture_is_cut():
    assert fill_polygon(np.array([[-9.0, -9.0], [99.0, -9.0], [40.0, 99.5]]), (20, 30)).any()
    assert not fill_polygon(np.array([[50.0, 50.0], [60.0, 50.0], [55.0, 60.0]]), (20, 30)).any()

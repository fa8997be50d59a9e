"""Contours, axes and volumes of bodies whose volume is known by integration."""

import math

import numpy as np
import pytest
from scipy import ndimage

from echoseg.errors import ArgumentError
from echoseg.measure.geometry import (
    LongAxis,
    _points_near,
    area_length_volume_ml,
    disk_diameters_mm,
    disk_volume_ml,
    line_length_mm,
    line_over_apex_mm,
    long_axis,
    mask_contour_mm,
    polygon_area_mm2,
)

LENGTH_MM, RADIUS_MM = 84.0, 23.0


def half_ellipsoid(z):
    return RADIUS_MM * np.sqrt(np.clip(1 - (z / LENGTH_MM) ** 2, 0, None))


def truncated_ellipsoid(z):
    """Base below the widest ring, as a real ventricle's."""
    half = LENGTH_MM / 1.7
    return RADIUS_MM * np.sqrt(np.clip(1 - ((z - (LENGTH_MM - half)) / half) ** 2, 0, None))


def bullet(z):
    """A cylinder with a hemi-ellipsoid on top."""
    top = 0.55 * LENGTH_MM
    return RADIUS_MM * np.sqrt(
        np.clip(1 - (np.clip(z - top, 0, None) / (LENGTH_MM - top)) ** 2, 0, None)
    )


def half_egg(z):
    return 0.3 * np.sqrt(np.clip(80.0**2 - z**2, 0, None))


SHAPES = {"half": half_ellipsoid, "truncated": truncated_ellipsoid, "bullet": bullet}


def volume_ml(radius_mm):
    """Integrate the rings from the base to the apex."""
    z = np.linspace(0, LENGTH_MM, 20001)
    return math.pi * np.trapezoid(radius_mm(z) ** 2, z) / 1000


def slanted_volume_ml(radius_mm, slant_deg):
    """Count half-slices of a body of revolution cut by a plane that slants in the picture."""
    slope = math.tan(math.radians(slant_deg))
    grid = np.linspace(-1.3 * RADIUS_MM, 1.3 * RADIUS_MM, 261)
    step = grid[1] - grid[0]
    x, y = np.meshgrid(grid, grid, indexing="ij")
    z = np.arange(-20, LENGTH_MM, 0.25) + 0.125
    total = 0.0
    for height in z:
        total += ((x**2 + y**2 < radius_mm(height) ** 2) & (height > slope * x)).sum()
    return total * step**2 * 0.25 / 1000


def drawn(radius_mm, *, spacing_mm=(0.4, 0.4), tilt_deg=0.0, slant_deg=0.0, atrium=True):
    """Draw the middle section of a body of revolution, base towards the bottom."""
    rows, columns = round(150 / spacing_mm[0]), round(120 / spacing_mm[1])
    row, column = np.mgrid[:rows, :columns]
    y, x = row * spacing_mm[0] - 105, column * spacing_mm[1] - 60
    tilt = math.radians(tilt_deg)
    across = x * math.cos(tilt) + y * math.sin(tilt)
    z = -(y * math.cos(tilt) - x * math.sin(tilt))
    above = z > math.tan(math.radians(slant_deg)) * across
    mask = np.zeros((rows, columns), np.uint8)
    mask[(np.abs(across) < radius_mm(z)) & above] = 1
    if atrium:
        mask[(np.abs(across) < RADIUS_MM * 0.98) & ~above & (z > -30)] = 3
    return mask


def measured_ml(mask, spacing_mm):
    axis = long_axis(mask, spacing_mm)
    contour = mask_contour_mm(mask == 1, spacing_mm)
    return disk_volume_ml(disk_diameters_mm(contour, axis), axis.length_mm)


@pytest.mark.parametrize("seed", range(8))
def test_points_near_a_region_are_those_that_its_dilation_reaches(seed):
    noise = np.random.default_rng(seed).normal(size=(2, 44, 50))
    cavity, atrium = (ndimage.gaussian_filter(one, 2) > 0.01 * seed for one in noise)
    contour = mask_contour_mm(cavity, (0.5, 0.7))
    reached = ndimage.binary_dilation(atrium, iterations=2)
    rows, columns = np.rint(contour[:, ::-1] / (0.5, 0.7)).astype(int).clip(0, (43, 49)).T
    near = _points_near(contour, atrium, (0.5, 0.7))
    assert np.array_equal(near, contour[reached[rows, columns]])


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("atrium", [True, False])
@pytest.mark.parametrize("tilt_deg", [0, 17, -33])
def test_disks_give_a_body_of_revolution_its_volume(shape, atrium, tilt_deg):
    mask = drawn(SHAPES[shape], tilt_deg=tilt_deg, atrium=atrium)
    assert measured_ml(mask, (0.4, 0.4)) == pytest.approx(volume_ml(SHAPES[shape]), rel=0.01)


@pytest.mark.parametrize("spacing_mm", [(0.3, 0.6), (0.7, 0.35)])
@pytest.mark.parametrize("shape", SHAPES)
def test_pixels_that_are_not_square_change_nothing(shape, spacing_mm):
    mask = drawn(SHAPES[shape], spacing_mm=spacing_mm, tilt_deg=12)
    assert measured_ml(mask, spacing_mm) == pytest.approx(volume_ml(SHAPES[shape]), rel=0.01)
    axis = long_axis(mask, spacing_mm)
    assert axis.length_mm == pytest.approx(LENGTH_MM, rel=0.01)


@pytest.mark.parametrize("slant_deg", [6, -12, 18])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("atrium", [True, False])
def test_a_slanted_base_costs_no_volume(shape, slant_deg, atrium):
    mask = drawn(SHAPES[shape], slant_deg=slant_deg, tilt_deg=8, atrium=atrium)
    true_ml = slanted_volume_ml(SHAPES[shape], slant_deg)
    assert measured_ml(mask, (0.4, 0.4)) == pytest.approx(true_ml, rel=0.01)


def test_a_whole_ellipsoid_without_a_base_is_measured_whole():
    rows, columns = np.mgrid[:300, :200]
    mask = (np.hypot((columns - 100) / 50, (rows - 150) / 100) < 1).astype(np.uint8)
    assert measured_ml(mask, (0.4, 0.4)) == pytest.approx(
        4 / 3 * math.pi * 40 * 400 / 1000, rel=0.01
    )


def test_two_planes_give_an_ellipsoid_of_three_axes_its_volume():
    z = (np.arange(20) + 0.5) / 20
    profile = np.sqrt(1 - z**2)
    found = disk_volume_ml(44 * profile, 80.0, 36 * profile)
    assert found == pytest.approx(2 / 3 * math.pi * 22 * 18 * 80 / 1000, rel=0.001)
    with pytest.raises(ArgumentError, match="20 disks"):
        disk_volume_ml(profile, 80.0, profile[:-1])


def test_area_and_length_are_exact_for_a_half_ellipsoid():
    area_mm2 = math.pi * 22 * 80 / 2
    assert area_length_volume_ml(area_mm2, 80) == pytest.approx(2 / 3 * math.pi * 22**2 * 80 / 1000)
    with pytest.raises(ArgumentError, match="positive"):
        area_length_volume_ml(10, 0)


def test_the_area_of_a_square_by_hand():
    assert polygon_area_mm2(np.array([[0, 0], [3, 0], [3, 3], [0, 3]])) == pytest.approx(9)


def test_the_line_over_a_half_ellipse_has_its_length_whatever_the_turn():
    angle = np.linspace(0, math.pi, 20001)
    half = line_length_mm(np.stack([24 * np.cos(angle), 80 * np.sin(angle)], 1))
    lengths = []
    for tilt_deg in (0, 10, 20, 30, 45):
        mask = drawn(half_egg, tilt_deg=tilt_deg, atrium=False)
        axis = long_axis(mask, (0.4, 0.4))
        contour = mask_contour_mm(mask == 1, (0.4, 0.4))
        lengths.append(line_length_mm(line_over_apex_mm(contour, axis, 1.5)))
    assert lengths == pytest.approx([half] * 5, rel=0.01)


def test_the_axis_of_a_tied_apex_is_the_middle_one():
    mask = np.zeros((120, 100), np.uint8)
    mask[20:80, 30:71], mask[80:100, 30:71] = 1, 3
    axis = long_axis(mask, (1, 1))
    assert isinstance(axis, LongAxis)
    assert axis.annulus_mid_mm == pytest.approx([50, 79.5], abs=0.6)

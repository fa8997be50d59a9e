"""Strain, sizes and rates with answers known by formula."""

import math

import numpy as np
import pytest

from echoseg.measure.frame import measure_each
from echoseg.measure.geometry import area_length_volume_ml
from echoseg.measure.measure import measure_masks
from echoseg.measure.messages import flag_wall
from echoseg.measure.shape import measure_atrium, measure_shape, measure_wall
from heart_makers import beating, heart


def moved(masks, times):
    """A heart that shifts and turns without changing shape."""
    tilts = 14 * np.sin(2 * math.pi * times)
    return np.stack([np.roll(heart(tilt_deg=t), round(8 * t / 14), 1) for t in tilts])


def test_a_heart_that_only_moves_has_no_strain():
    times = np.arange(24) / 24
    masks = moved(None, times)
    lines = [measure_shape(mask, (0.5, 0.5)).line_mm for mask in masks]
    assert np.ptp(lines) / lines[0] < 0.01
    shapes = [measure_shape(np.roll(heart(), shift, axis), (0.5, 0.5)) for shift in (0, 7)
              for axis in (0, 1)]  # fmt: skip
    assert np.ptp([shape.line_mm for shape in shapes]) < 1e-9
    assert np.ptp([shape.volume_ml for shape in shapes]) < 1e-3


def test_strain_is_the_shrinking_of_the_line():
    masks, times, _ = beating(80, phase=0.5)
    found = measure_masks(masks, spacing_mm=(1.0, 1.0), times_s=times)

    def arc(half, length):
        angle = np.linspace(0, math.pi, 9999)
        points = np.stack([half * np.cos(angle), length * np.sin(angle)], 1)
        return np.linalg.norm(np.diff(points, axis=0), axis=1).sum()

    true = 100 * (arc(22 * 0.75, 80 * 0.9) / arc(22, 80) - 1)
    assert found.gls_percent == pytest.approx(true, abs=1.0)
    strains = [frame.strain_percent for frame in found.frames]
    assert min(strains) == pytest.approx(true, abs=1.5)


def test_sizes_of_a_beating_heart():
    masks, times, truth = beating(80, phase=0.5)
    found = measure_masks(masks, spacing_mm=(1.0, 1.0), times_s=times)
    size = found
    assert size.stroke_volume_ml == pytest.approx(found.edv_ml - found.esv_ml)
    assert size.lv_length_ed_mm == pytest.approx(80, abs=1.5)
    assert size.lv_length_es_mm == pytest.approx(72, abs=1.5)
    assert size.fractional_area_change_percent == pytest.approx(100 * (1 - 0.75 * 0.9), abs=1.5)
    assert size.lv_area_ed_cm2 == pytest.approx(math.pi * 22 * 80 / 200, rel=0.02)
    assert size.edv_area_length_ml == pytest.approx(truth.max(), rel=0.03)
    # the base stands still and the apex moves, so the annulus goes nowhere
    assert size.annular_excursion_mm == pytest.approx(0, abs=0.7)


def test_the_largest_rates_are_those_of_the_cosine():
    masks, times, truth = beating(160, rate_hz=80, bpm=60, phase=0.5)
    found = measure_masks(masks, spacing_mm=(1.0, 1.0), times_s=times)
    true = np.abs(np.gradient(truth, times)).max() / truth.max()
    beat = found.beats[0]
    assert beat.peak_ejection_rate_edv_per_s == pytest.approx(true, rel=0.08)
    assert beat.peak_filling_rate_edv_per_s == pytest.approx(true, rel=0.08)


def test_without_a_scale_only_ratios_are_given():
    masks, times, _ = beating()
    size = measure_masks(masks, spacing_mm=None, times_s=times)
    assert size.fractional_area_change_percent is not None
    assert size.stroke_volume_ml is None
    assert size.lv_mass_g is None


def test_an_even_wall_has_its_thickness_and_its_mass():
    rows, columns = np.mgrid[:300, :300]
    z, x = (180 - rows) * 0.5, (columns - 150) * 0.5
    mask = np.zeros((300, 300), np.uint8)
    mask[(np.hypot(x / 32, z / 80) < 1) & (z > 0)] = 2
    mask[(np.hypot(x / 22, z / 70) < 1) & (z > 0)] = 1
    mask[(np.abs(x) < 22) & (z <= 0) & (z > -30)] = 3
    wall = measure_wall(mask, (0.5, 0.5), measure_shape(mask, (0.5, 0.5)))
    area = math.pi / 2 * (32 * 80 - 22 * 70)
    assert wall.thickness_mm == pytest.approx(area / 166, rel=0.03)  # mean half perimeter: 166 mm
    true_g = 1.05 * 2 / 3 * math.pi * (32**2 * 80 - 22**2 * 70) / 1000
    assert wall.mass_g == pytest.approx(true_g, rel=0.02)
    mask[mask == 2] = 0
    assert measure_wall(mask, (0.5, 0.5), measure_shape(mask, (0.5, 0.5))) is None


def test_the_atrium_by_area_and_length():
    mask = heart()
    axis = measure_shape(mask, (0.5, 0.5)).axis
    # a half ellipse 44 wide and 40 deep, so the formula gives half an ellipsoid
    found = area_length_volume_ml(*measure_atrium(mask, (0.5, 0.5), axis))
    assert found == pytest.approx(2 / 3 * math.pi * 22**2 * 40 / 1000, rel=0.03)
    assert measure_atrium(mask[:200], (0.5, 0.5), axis) is None  # cut by the picture's edge


def test_smoothing_is_told_and_can_be_left_out():
    masks, times, _ = beating(80, phase=0.5)
    with_it = measure_masks(masks, spacing_mm=None, times_s=times)
    without = measure_masks(masks, spacing_mm=None, times_s=times, smoothing=False)
    assert with_it.ef_unsmoothed_percent == pytest.approx(without.ef_percent)
    assert "regularised" in {note.code for note in with_it.notes}
    assert "regularised" not in {note.code for note in without.notes}
    assert with_it.ef_percent == pytest.approx(without.ef_percent, abs=1)


def test_a_wall_that_leaves_the_sector_has_no_thickness_and_no_mass():
    masks, times, _ = beating(80, phase=0.5)
    found = measure_masks(masks, spacing_mm=(1.0, 1.0), times_s=times)
    sector, frames = np.ones(masks.shape[1:], bool), measure_each(masks, (1.0, 1.0))
    assert flag_wall(found, frames, sector) is found
    right = int(np.argwhere(masks[found.ed_frame] == 1)[:, 1].max())
    sector[:, right + 3 :] = False  # the lateral wall lies outside
    cut = flag_wall(found, frames, sector)
    assert (cut.lv_mass_g, cut.wall_thickness_mm) == (None, None)
    assert cut.ef_percent == found.ef_percent
    assert [warning.code for warning in cut.warnings][-1] == "wall_cut_off"
    assert "% of the heart wall at ED" in cut.warnings[-1].message

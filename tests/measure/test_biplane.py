"""Two planes of one heart: exact answers, and what is refused or warned of."""

import math
from dataclasses import replace

import numpy as np
import pytest

from echoseg.measure.biplane import combine_views
from echoseg.measure.measure import measure_masks
from heart_makers import beating, heart

MM = (1.0, 1.0)


def plane(half_width_mm, length_mm=80.0, *, num_frames=80, shrink=0.25, bpm=80.0):
    """A half ellipsoid seen from one side, beating; its half width shrinks, its length too."""
    times = np.arange(num_frames) / 40
    squeeze = shrink * 0.5 * (1 - np.cos(2 * math.pi * (times * bpm / 60 + 0.5)))
    masks = np.stack(
        [heart(half_width_mm * (1 - s), length_mm * (1 - 0.4 * s), spacing_mm=MM, size=(150, 150))
         for s in squeeze]
    )  # fmt: skip
    return measure_masks(masks, spacing_mm=MM, times_s=times)


def codes(found):
    return [warning.code for warning in found.warnings]


def test_two_planes_of_a_flattened_ellipsoid_have_its_volume_and_ef():
    found = combine_views(plane(22), plane(16))
    edv_ml = 2 / 3 * math.pi * 22 * 16 * 80 / 1000
    assert found.refusal == ""
    assert found.edv_ml == pytest.approx(edv_ml, rel=0.025)  # pixels of 1 mm
    assert found.ef_percent == pytest.approx(100 * (1 - 0.75**2 * 0.9), abs=1)
    assert found.length_difference_percent < 2
    assert codes(found) == []


def test_two_equal_planes_are_the_one_plane():
    one = plane(20)
    found = combine_views(one, one)
    assert found.ef_percent == pytest.approx(one.ef_percent)
    assert found.edv_ml == pytest.approx(one.edv_ml)
    assert found.esv_ml == pytest.approx(one.esv_ml)


def test_unlike_motion_gives_an_ef_between_the_planes():
    strong, weak = plane(20, shrink=0.3), plane(20, shrink=0.1)
    found = combine_views(strong, weak)
    assert weak.ef_percent < found.ef_percent < strong.ef_percent


@pytest.mark.parametrize(("length_mm", "flagged"), [(74, False), (68, True)])
def test_a_plane_that_is_over_ten_percent_shorter_is_foreshortened(length_mm, flagged):
    found = combine_views(plane(20), plane(20, length_mm))
    assert codes(found) == ["foreshortened"] * flagged
    assert found.length_difference_percent == pytest.approx(100 * (1 - length_mm / 80), abs=1.5)
    if flagged:
        assert "A2C is foreshortened" in found.warnings[0].message


def test_heart_rates_that_differ_are_told():
    assert codes(combine_views(plane(20), plane(20, bpm=100))) == ["heart_rates_differ"]
    half = plane(20, num_frames=30)
    assert half.heart_rate_bpm is None
    assert half.is_part_of_beat
    assert codes(combine_views(plane(20), half)) == ["part_of_beat", "heart_rates_unknown"]


def test_without_a_scale_or_an_ef_planes_are_not_joined():
    masks, times, _ = beating(80, phase=0.5)
    bare = measure_masks(masks, spacing_mm=None, times_s=times)
    assert "the A2C clip has no usable pixel spacing" in combine_views(plane(20), bare).refusal
    empty = measure_masks(np.zeros_like(masks), spacing_mm=MM, times_s=times)
    found = combine_views(empty, plane(20))
    assert found.ef_percent is None
    assert "the A4C clip has no EF: a left ventricle was found on 0" in found.refusal


def test_a_heart_that_fills_in_systole_has_no_negative_ef():
    one = plane(20)
    found = combine_views(one, one.model_copy(update={"esv_ml": 2 * one.edv_ml}))
    assert found.ef_percent >= 0
    larger = one.model_copy(update={"esv_ml": 2 * one.edv_ml})
    worse = combine_views(larger, larger)
    assert worse.ef_percent == 0
    assert "no_ejection" in codes(worse)


def with_atrium(one, area_mm2, length_mm):
    disks = replace(one.disks, la_area_mm2=area_mm2, la_length_mm=length_mm)
    return one.model_copy(update={"disks": disks})


def test_the_atrium_of_both_planes_is_the_product_of_its_areas_over_the_shorter_length():
    one = plane(20)
    found = combine_views(with_atrium(one, 2000.0, 50.0), with_atrium(one, 1500.0, 47.0))
    assert found.la_volume_ml == pytest.approx(8 * 2000 * 1500 / (3 * math.pi * 47) / 1000)
    assert codes(found) == []
    unlike = combine_views(with_atrium(one, 2000.0, 50.0), with_atrium(one, 1500.0, 44.0))
    assert codes(unlike) == ["la_lengths_differ"]
    cut_off = combine_views(with_atrium(one, None, None), one)
    assert cut_off.la_volume_ml is None

"""Frames measured one by one: what did not change is not measured again, and gives the same."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echoseg.clip import Clip
from echoseg.inference.clip_measurement import measure_clip
from echoseg.measure import frame as frame_module
from echoseg.measure.clean import clean_mask
from echoseg.measure.frame import measure_each, measure_frame
from echoseg.measure.geometry import long_axis
from echoseg.measure.measure import Timing, measure_frames, measure_masks
from echoseg.measure.shape import ring_fraction
from heart_makers import beating, heart

MASKS, TIMES_S, _ = beating(40)
FRAMES = measure_each(MASKS, (1.0, 1.0))


def same(one, other):
    return all(
        repr(getattr(one, name)) == repr(getattr(other, name)) for name in type(one).model_fields
    )


def test_the_axis_in_pixels_is_that_of_the_mask_alone():
    for spacing_mm in (None, (0.7, 0.7)):
        for mask, frame in zip(MASKS[:6], measure_each(MASKS[:6], spacing_mm), strict=True):
            own = long_axis(mask, (1.0, 1.0))
            np.testing.assert_allclose(frame.axis_px.hinges_mm, own.hinges_mm, atol=1e-9)
            np.testing.assert_allclose(frame.axis_px.apex_mm, own.apex_mm, atol=1e-9)
    assert measure_frame(MASKS[0], (0.7, 0.8)).axis_px is None  # pixels that are not square
    assert measure_frame(np.zeros_like(MASKS[0]), None).axis_px is None


@settings(max_examples=15, deadline=None)
@given(
    changes=st.dictionaries(
        st.integers(0, 39),
        st.tuples(st.integers(-20, 20), st.integers(-20, 20), st.integers(1, 3), st.integers(0, 3)),
        max_size=4,
    )
)
def test_measuring_changed_frames_only_is_measuring_from_scratch(changes):
    masks, frames = MASKS.copy(), list(FRAMES)
    for index, (row, column, half, label) in changes.items():
        masks[index, 70 + row : 70 + row + half * 6, 75 + column : 75 + column + half * 6] = label
        masks[index] = clean_mask(masks[index])
        frames[index] = measure_frame(masks[index], (1.0, 1.0))
    timing = Timing(times_s=TIMES_S)
    scratch = measure_masks(masks, spacing_mm=(1.0, 1.0), times_s=TIMES_S)
    assert same(measure_frames(frames, timing), scratch)
    clip = Clip(frames=masks, times_s=TIMES_S, spacing_mm=(1.0, 1.0), r_wave_times_s=(0.1, 0.85))
    assert same(measure_clip(clip, frames), measure_clip(clip, masks))


def test_a_frame_that_is_measured_stays_and_another_spacing_measures_it_anew(monkeypatch):
    again = measure_each(FRAMES, (1.0, 1.0))
    assert all(one is other for one, other in zip(FRAMES, again, strict=True))
    calls = []
    monkeypatch.setattr(
        frame_module, "measure_shape", lambda mask, spacing: calls.append(spacing) or None
    )
    measure_each(FRAMES[:3], (0.5, 0.5))
    assert calls == [(0.5, 0.5)] * 3


def test_wall_and_atrium_are_measured_once(monkeypatch):
    one, calls = measure_frame(MASKS[0], (1.0, 1.0)), []
    real = frame_module.measure_wall
    monkeypatch.setattr(
        frame_module, "measure_wall", lambda *given: calls.append(1) or real(*given)
    )
    assert one.wall is one.wall
    assert calls == [1]


@pytest.mark.parametrize("shift", [-75, -40, 0, 40])
def test_the_ring_of_a_cavity_at_the_edge_counts_no_wall_beyond_it(shift):
    mask = np.roll(heart(spacing_mm=(1.0, 1.0), size=(150, 150)), shift, axis=1)
    padded = np.pad(mask, 5)
    assert ring_fraction(mask) == ring_fraction(padded)
    assert ring_fraction(np.zeros((5, 5), np.uint8)) == 0.0


def test_an_atrium_is_in_the_unit_of_the_axis_where_the_spacing_is_implausible():
    far = measure_masks(MASKS, spacing_mm=(5.0, 5.0), times_s=TIMES_S)
    near = measure_masks(MASKS, spacing_mm=(1.0, 1.0), times_s=TIMES_S)
    assert far.edv_ml is None
    assert far.disks.la_length_mm == pytest.approx(5 * near.disks.la_length_mm)

"""From masks to numbers: exact answers, invariances, refusals."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from echoseg.errors import MeasurementError
from echoseg.geometry import disk_volume_ml
from echoseg.measure.measure import measure_masks
from echoseg.measure.volumes import mask_volume_ml


def heart(
    half_width_mm=22.0, length_mm=80.0, *, spacing_mm=(0.5, 0.5), tilt_deg=0.0, size=(300, 300)
):
    """A half-ellipsoid cavity (base cut at its widest), its wall, and an atrium under it."""
    rows, columns = np.mgrid[: size[0], : size[1]]
    y = rows * spacing_mm[0] - 0.62 * size[0] * spacing_mm[0]
    x = columns * spacing_mm[1] - 0.5 * size[1] * spacing_mm[1]
    tilt = math.radians(tilt_deg)
    x, y = x * math.cos(tilt) + y * math.sin(tilt), y * math.cos(tilt) - x * math.sin(tilt)
    mask = np.zeros(size, np.uint8)
    outer = (x / (half_width_mm + 10)) ** 2 + (y / (length_mm + 10)) ** 2 < 1
    mask[outer & (y < 0)] = 2
    mask[((x / half_width_mm) ** 2 + (y / length_mm) ** 2 < 1) & (y < 0)] = 1
    mask[((x / half_width_mm) ** 2 + (y / 40) ** 2 < 1) & (y >= 0)] = 3
    return mask


def half_ellipsoid_ml(half_width_mm, length_mm):
    return 2 / 3 * math.pi * half_width_mm**2 * length_mm / 1000


def beating(num_frames=40, *, shrink=0.25, rate_hz=40.0, bpm=80.0, phase=0.0):
    """A clip whose half width and length follow one cosine; returns masks, times, true volumes."""
    times = np.arange(num_frames) / rate_hz
    squeeze = shrink * 0.5 * (1 - np.cos(2 * math.pi * (times * bpm / 60 + phase)))
    sizes = [(22 * (1 - s), 80 * (1 - 0.4 * s)) for s in squeeze]
    masks = np.stack(
        [heart(w, length, spacing_mm=(1.0, 1.0), size=(150, 150)) for w, length in sizes]
    )
    return masks, times, np.array([half_ellipsoid_ml(w, length) for w, length in sizes])


def test_twenty_disks_of_a_cylinder_are_the_cylinder():
    assert disk_volume_ml(np.full(20, 40.0), 80.0) == pytest.approx(math.pi * 400 * 80 / 1e3)


@pytest.mark.parametrize("tilt_deg", [0, 12, -25])
def test_a_half_ellipsoid_has_its_volume(tilt_deg):
    volume_ml, length_mm = mask_volume_ml(heart(tilt_deg=tilt_deg), (0.5, 0.5))
    assert volume_ml == pytest.approx(half_ellipsoid_ml(22, 80), rel=0.02)
    assert length_mm == pytest.approx(80, rel=0.015)


def test_uneven_spacing_changes_nothing():
    spacing_mm = (0.4, 0.8)
    mask = heart(spacing_mm=spacing_mm, size=(400, 200), tilt_deg=10)
    volume_ml, length_mm = mask_volume_ml(mask, spacing_mm)
    assert volume_ml == pytest.approx(half_ellipsoid_ml(22, 80), rel=0.02)
    assert length_mm == pytest.approx(80, rel=0.015)


def test_double_spacing_is_eight_times_the_volume():
    mask = heart()
    small, large = mask_volume_ml(mask, (0.5, 0.5))[0], mask_volume_ml(mask, (1.0, 1.0))[0]
    assert large == pytest.approx(8 * small)


def test_ef_phases_and_heart_rate_of_a_beating_heart():
    masks, times, truth = beating(80)
    found = measure_masks(masks, spacing_mm=(1.0, 1.0), times_s=times)
    ef = 100 * (1 - truth.min() / truth.max())
    assert found.refusal == ""
    assert found.ef_percent == pytest.approx(ef, abs=1.5)
    assert found.heart_rate_bpm == pytest.approx(80, abs=2)
    beat_s = 60 / 80
    assert (times[found.ed_frame] % beat_s) / beat_s == pytest.approx(round(
        (times[found.ed_frame] % beat_s) / beat_s), abs=0.08)  # fmt: skip
    assert (times[found.es_frame] % beat_s) / beat_s == pytest.approx(0.5, abs=0.08)
    assert found.edv_ml == pytest.approx(truth.max(), rel=0.03)


def test_ef_needs_no_scale_and_millilitres_are_then_refused():
    masks, times, _ = beating()
    scaled = measure_masks(masks, spacing_mm=(0.7, 0.7), times_s=times)
    bare = measure_masks(masks, spacing_mm=None, times_s=times)
    assert bare.ef_percent == pytest.approx(scaled.ef_percent, abs=1e-6)
    assert bare.edv_ml is None
    assert bare.esv_ml is None
    assert all(frame.volume_ml is None and frame.lv_area_cm2 is None for frame in bare.frames)
    assert "no_scale_no_millilitres" in {note.code for note in bare.notes}
    assert scaled.edv_ml > scaled.esv_ml > 0


@pytest.mark.parametrize("phase", [0.0, 0.5])
def test_half_a_beat_gives_the_same_ef_either_way_round(phase):
    masks, times, truth = beating(16, rate_hz=40, bpm=75, phase=phase)
    found = measure_masks(masks, spacing_mm=None, times_s=times)
    assert found.ef_percent == pytest.approx(100 * (1 - truth.min() / truth.max()), abs=1.5)
    assert (found.ed_frame < found.es_frame) == (phase == 0.0)
    assert found.heart_rate_bpm is None


def test_stray_pieces_do_not_count():
    masks, times, _ = beating()
    clean = measure_masks(masks, spacing_mm=None, times_s=times)
    masks[:, 5:9, 5:9] = 1
    masks[3:7, 100:104, 5:12] = 1
    assert measure_masks(masks, spacing_mm=None, times_s=times).ef_percent == pytest.approx(
        clean.ef_percent
    )


def test_frames_without_a_cavity_are_neither_ed_nor_es():
    masks, times, _ = beating()
    whole = measure_masks(masks, spacing_mm=None, times_s=times)
    masks[[4, 5, 30]] = 0
    found = measure_masks(masks, spacing_mm=None, times_s=times)
    assert found.ef_percent == pytest.approx(whole.ef_percent, abs=2)
    assert not {4, 5, 30} & {found.ed_frame, found.es_frame}
    assert found.frames[4].relative_volume is None
    assert "lv_missing_frames" in {note.code for note in found.notes}


def test_a_scale_that_makes_a_giant_is_flagged_and_gives_no_millilitres():
    masks, times, _ = beating()
    found = measure_masks(masks, spacing_mm=(3.0, 3.0), times_s=times)
    assert "implausible_size" in {note.code for note in found.notes}
    assert found.edv_ml is None
    bare = measure_masks(masks, spacing_mm=None, times_s=times)
    assert found.ef_percent == pytest.approx(bare.ef_percent, abs=1e-6)


def test_no_heart_is_no_ef_with_its_reason():
    rng = np.random.default_rng(0)
    empty = measure_masks(np.zeros((6, 50, 50), np.uint8), spacing_mm=None, times_s=None)
    assert empty.ef_percent is None
    assert "0 of 6 frames" in empty.refusal
    bare = np.zeros((6, 80, 80), np.uint8)
    bare[:, 20:50, 30:50] = 1
    assert "heart wall" in measure_masks(bare, spacing_mm=None, times_s=None).refusal
    jumping = np.stack([heart(w, 60, spacing_mm=(1, 1), size=(150, 150)) for w in
                        rng.permutation(np.tile([8.0, 25.0], 10))])  # fmt: skip
    assert "jumps" in measure_masks(jumping, spacing_mm=None, times_s=None).refusal


def test_wrong_masks_are_refused():
    with pytest.raises(MeasurementError, match="uint8"):
        measure_masks(np.zeros((3, 4, 4), int), spacing_mm=None, times_s=None)
    with pytest.raises(MeasurementError, match="labels 0 to 3"):
        measure_masks(np.full((3, 4, 4), 7, np.uint8), spacing_mm=None, times_s=None)


@settings(max_examples=120, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    shape=st.tuples(st.integers(1, 8), st.integers(1, 40), st.integers(1, 40)),
    grain=st.sampled_from([0.0, 1.0, 3.0, 8.0]),
    scaled=st.booleans(),
)
def test_any_masks_give_numbers_or_a_reason(seed, shape, grain, scaled):
    rng = np.random.default_rng(seed)
    noise = gaussian_filter(rng.standard_normal((4, *shape)), (0, 0, grain, grain))
    masks = noise.argmax(0).astype(np.uint8)
    spacing_mm = (0.3, 0.9) if scaled else None
    found = measure_masks(masks, spacing_mm=spacing_mm, times_s=np.arange(shape[0]) / 30)
    assert len(found.frames) == shape[0]
    if found.ef_percent is None:
        assert found.refusal
    else:
        assert 0 <= found.ef_percent <= 100
        assert found.ed_frame is not None
    for frame in found.frames:
        for value in (frame.relative_volume, frame.volume_ml, frame.lv_length_mm):
            assert value is None or math.isfinite(value)

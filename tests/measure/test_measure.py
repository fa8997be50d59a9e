"""From masks to numbers: exact answers, invariances, refusals."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from echoseg.errors import ArgumentError, MeasurementError
from echoseg.measure.clean import clean_masks
from echoseg.measure.geometry import disk_volume_ml
from echoseg.measure.measure import measure_masks
from echoseg.measure.volumes import mask_volume_ml
from heart_makers import beating, curve_of, half_ellipsoid_ml, heart


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
    assert "no_scale_no_millilitres" in {warning.code for warning in bare.warnings}
    assert scaled.edv_ml > scaled.esv_ml > 0


@pytest.mark.parametrize(("noise", "max_points"), [(0.0, 0.5), (0.01, 2.0), (0.02, 4.0)])
def test_the_frames_marked_are_those_of_the_volumes_stated(noise, max_points):
    """A plateau at ES that tilts: the EF uses its end, so the mark is not in its middle."""
    times, volume, _ = curve_of([0.9, 0.9, 0.9], 40, skip_s=0.4)
    empty = volume < 60
    volume = volume - 6 * np.cumsum(empty) / empty.sum()
    size = (volume / 100) ** (1 / 3) * (
        1 + noise * np.random.default_rng(3).standard_normal(len(volume))
    )
    masks = np.stack([heart(22 * s, 80 * s, spacing_mm=(0.7, 0.7), size=(220, 220)) for s in size])
    found, own = (
        measure_masks(masks, spacing_mm=(0.7, 0.7), times_s=times, smoothing=smoothing)
        for smoothing in (True, False)
    )
    assert found.num_beats == 2
    for beat, by_frames in zip(found.beats, own.beats, strict=True):
        ed, es = found.frames[beat.ed_frame], found.frames[beat.es_frame]
        assert (ed.smoothed_volume, es.smoothed_volume) == (beat.edv_ml, beat.esv_ml)
        assert (ed.volume_ml, es.volume_ml) == (by_frames.edv_ml, by_frames.esv_ml)
        single = 100 * (1 - es.volume_ml / ed.volume_ml)
        assert by_frames.ef_percent == pytest.approx(single)
        assert abs(beat.ef_percent - single) <= max_points
    assert found.ef_unsmoothed_percent == pytest.approx(own.ef_percent)
    assert abs(found.ef_percent - own.ef_percent) <= max_points
    stated = {note.code: note.message for note in found.notes}["regularised"]
    assert f"marked ED and ES give {own.ef_percent:.1f} %" in stated


@pytest.mark.parametrize("phase", [0.0, 0.5])
def test_half_a_beat_gives_the_same_ef_either_way_round(phase):
    masks, times, truth = beating(16, rate_hz=40, bpm=75, phase=phase)
    found = measure_masks(masks, spacing_mm=None, times_s=times)
    assert found.ef_percent == pytest.approx(100 * (1 - truth.min() / truth.max()), abs=1.5)
    assert (found.ed_frame < found.es_frame) == (phase == 0.0)
    assert found.heart_rate_bpm is None


def test_a_clip_without_a_whole_beat_says_so_and_claims_none():
    masks, times, _ = beating(34, rate_hz=40, bpm=75, phase=0.3)
    part = measure_masks(masks, spacing_mm=None, times_s=times)
    messages = {warning.code: warning.message for warning in part.warnings}
    assert part.is_part_of_beat
    assert f"ED frame {part.ed_frame} with ES frame {part.es_frame}" in messages["part_of_beat"]
    assert "few_beats" not in messages
    masks, times, _ = beating(80, phase=0.5)
    found = measure_masks(masks, spacing_mm=None, times_s=times)
    codes = {warning.code for warning in found.warnings}
    assert "few_beats" in codes
    assert "part_of_beat" not in codes
    assert not found.is_part_of_beat
    codes = [note.code for note in found.notes]
    assert codes == ["largest_smallest_volume", "mean_of_beats", "regularised"]


def test_several_beats_are_listed_in_a_note_and_are_no_warning():
    masks, times, _ = beating(130, phase=0.5)
    found = measure_masks(masks, spacing_mm=(1.0, 1.0), times_s=times)
    assert found.warnings == ()
    assert [note.code for note in found.notes] == [
        "largest_smallest_volume",
        "mean_of_beats",
        "regularised",
    ]
    assert "mean of 4 beats" in found.notes[1].message
    assert found.ef_percent == pytest.approx(np.mean([beat.ef_percent for beat in found.beats]))
    assert found.ef_sd_points < 1


@pytest.mark.parametrize(("num_frames", "has_ef"), [(15, False), (16, True)])
def test_a_clip_too_short_for_a_systole_has_no_ef_and_says_why(num_frames, has_ef):
    masks, times, _ = beating(num_frames, rate_hz=40, bpm=75)
    found = measure_masks(masks, spacing_mm=(1.0, 1.0), times_s=times)
    assert (found.ef_percent is not None) == has_ef
    assert (found.edv_ml is not None) == has_ef
    if not has_ef:
        assert "the clip lasts 0.38 s; EF needs at least 0.4 s" in found.refusal


def test_the_frames_are_picked_on_the_smoothed_curve():
    masks, times, _ = beating(80, phase=0.5)
    before = measure_masks(masks, spacing_mm=(1.0, 1.0), times_s=times)
    masks[before.ed_frame + 5] = heart(30, 85, spacing_mm=(1.0, 1.0), size=(150, 150))
    found = measure_masks(masks, spacing_mm=(1.0, 1.0), times_s=times)
    largest = max(found.frames, key=lambda frame: frame.volume_ml)
    assert largest.frame_index == before.ed_frame + 5
    assert found.ed_frame != largest.frame_index
    assert found.edv_ml < largest.volume_ml
    assert "smoothed curve" in found.notes[0].message


def test_stray_pieces_do_not_count():
    masks, times, _ = beating()
    clean = measure_masks(masks, spacing_mm=None, times_s=times)
    masks[:, 5:9, 5:9] = 1
    masks[3:7, 100:104, 5:12] = 1
    found = measure_masks(clean_masks(masks), spacing_mm=None, times_s=times)
    assert found.ef_percent == pytest.approx(clean.ef_percent)


def test_frames_without_a_cavity_are_neither_ed_nor_es():
    masks, times, _ = beating()
    whole = measure_masks(masks, spacing_mm=None, times_s=times)
    masks[[4, 5, 30]] = 0
    found = measure_masks(masks, spacing_mm=None, times_s=times)
    assert found.ef_percent == pytest.approx(whole.ef_percent, abs=2)
    assert not {4, 5, 30} & {found.ed_frame, found.es_frame}
    assert found.frames[4].relative_volume is None
    assert "lv_missing_frames" in {warning.code for warning in found.warnings}


def test_a_scale_with_one_wrong_side_is_flagged_by_the_volume():
    masks, times, _ = beating()
    found = measure_masks(masks, spacing_mm=(1.0, 4.0), times_s=times)
    (message,) = [one.message for one in found.warnings if one.code == "implausible_size"]
    assert "over 500 ml" in message and "1 x 4 mm" in message
    assert found.edv_ml is None and found.spacing_mm is None


def test_a_scale_that_makes_a_giant_is_flagged_and_gives_no_millilitres():
    masks, times, _ = beating()
    found = measure_masks(masks, spacing_mm=(3.0, 3.0), times_s=times)
    assert "implausible_size" in {warning.code for warning in found.warnings}
    assert found.spacing_mm is None
    assert measure_masks(masks, spacing_mm=(1.0, 1.0), times_s=times).spacing_mm == (1.0, 1.0)
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
    assert "implausible" in measure_masks(jumping, spacing_mm=None, times_s=None).refusal


def test_wrong_masks_are_refused():
    with pytest.raises(MeasurementError, match="uint8"):
        measure_masks(np.zeros((3, 4, 4), int), spacing_mm=None, times_s=None)
    with pytest.raises(MeasurementError, match="labels 0 to 3"):
        measure_masks(np.full((3, 4, 4), 7, np.uint8), spacing_mm=None, times_s=None)
    with pytest.raises(MeasurementError, match=r"\(T, H, W\) uint8 array, got list"):
        measure_masks([np.zeros((4, 4), np.uint8)] * 3, spacing_mm=None, times_s=None)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"times_s": np.arange(20.0)}, r"times_s must be 80 increasing times, .* \(20,\)"),
        ({"times_s": np.arange(80.0)[::-1]}, "times_s must be 80 increasing"),
        ({"times_s": np.zeros(80)}, "times_s must be 80 increasing"),
        ({"spacing_mm": (0.0, 1.0)}, r"spacing_mm must be positive and finite, got \(0.0, 1.0\)"),
        ({"spacing_mm": (-1.0, 1.0)}, "spacing_mm must be positive"),
        ({"spacing_mm": (1.0,)}, "spacing_mm must be positive"),
    ],
)
def test_times_and_spacings_that_no_clip_has_are_refused(wrong, words):
    masks, times, _ = beating(80)
    with pytest.raises(ArgumentError, match=words):
        measure_masks(masks, **({"spacing_mm": (1.0, 1.0), "times_s": times} | wrong))


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

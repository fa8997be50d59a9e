"""A clock that is not the heart's changes no EF; a clip that shows no whole stroke states none."""

import numpy as np
import pytest

from echoseg.clip import Clip
from echoseg.inference.analysis import analyze_masks
from echoseg.measure.curve import smooth
from echoseg.measure.measure import measure_masks
from echoseg.measure.phases import cut_reason, find_beats, part_of_beat
from echoseg.measure.rhythm import is_systole, systole_frames
from heart_makers import beating, curve_of

FRAME_S = 0.02


def read(volume, frame_s=FRAME_S):
    curve, known = smooth(volume, frame_s), np.ones(len(volume), bool)
    beats = find_beats(curve, frame_s)
    used = beats or [part_of_beat(curve, known)]
    ef = 100 * np.mean([beat.ejection_ratio for beat in used])
    return ef, cut_reason(curve, beats, known, frame_s), len(beats)


@pytest.mark.parametrize("factor", [0.25, 1 / 3, 0.5, 2, 3, 4])
@pytest.mark.parametrize(("bpm", "shrink"), [(60, 0.25), (75, 0.12), (95, 0.25)])
def test_a_clock_wrong_by_two_to_four_changes_no_ef(factor, bpm, shrink):
    masks, times, _ = beating(120, bpm=bpm, shrink=shrink, phase=0.5)
    right = measure_masks(masks, spacing_mm=(1.0, 1.0), times_s=times)
    wrong = measure_masks(masks, spacing_mm=(1.0, 1.0), times_s=times * factor)
    assert right.ef_percent is not None and wrong.ef_percent is not None
    assert abs(wrong.ef_percent - right.ef_percent) < 2
    codes = {warning.code for warning in wrong.warnings}
    if "clock_implausible" in codes:
        assert wrong.heart_rate_bpm is None and wrong.peak_ejection_rate_edv_per_s is None
        assert wrong.heart_rate_unreliable_bpm == pytest.approx(bpm / factor, rel=0.1)


def test_a_systole_of_a_second_contradicts_the_frame_rate_even_without_a_heart_rate():
    # one systole of 0.35 s in a clip played at 0.4 of its speed, whose next beat is not seen
    masks, times, _ = beating(36, rate_hz=40, bpm=75, phase=0.55)
    right = measure_masks(masks, spacing_mm=None, times_s=times)
    slow = measure_masks(masks, spacing_mm=None, times_s=times * 2.5)
    assert slow.num_beats == right.num_beats == 1
    assert slow.ef_percent == pytest.approx(right.ef_percent, abs=2)
    message = {one.code: one.message for one in slow.warnings}["clock_implausible"]
    assert "16 frames per second" in message and "0.2 to 0.5 s" in message
    assert "clock_implausible" not in {one.code for one in right.warnings}
    assert slow.heart_rate_bpm is None and slow.peak_filling_rate_edv_per_s is None


@pytest.mark.parametrize(
    ("systole_s", "expected"),
    [(None, True), (0.33, True), (0.48, True), (0.95, False), (0.1, False)],
)
def test_the_systole_of_a_heart(systole_s, expected):
    assert is_systole(systole_s, FRAME_S) is expected
    assert systole_frames([]) is None


def test_parts_that_show_both_ends_have_the_ef_of_the_whole_and_others_are_withheld():
    _, volume, _ = curve_of([0.9] * 3, 50, ef=48)
    stated, withheld = [], []
    for length in (20, 25, 30, 35, 40, 50):
        for start in range(len(volume) - length):
            window = volume[start : start + length]
            if np.ptp(window) > 0:
                ef, reason, _ = read(window)
                (withheld if reason else stated).append(ef)
    assert np.abs(np.array(stated) - 48).max() < 5
    assert np.min(withheld) < 3
    assert len(stated) > 100


def test_a_cut_within_systole_is_not_reliable_and_gives_no_number():
    _, volume, _ = curve_of([0.9] * 3, 50, ef=48)
    since = round((0.9 + 0.22) / FRAME_S)  # in mid-systole, to the middle of the next filling
    assert read(volume[since : since + 10])[1].startswith("The clip may")
    masks, times, _ = beating(20, rate_hz=40, bpm=60, phase=0.2)
    analysis = analyze_masks(Clip(frames=60 * masks, times_s=times, view="A4C"), masks)
    assert analysis.ef.kind == "unreliable" and analysis.ef_percent is None
    assert "at least one whole beat" in analysis.ef.reason
    assert "cut_beat" in {warning.code for warning in analysis.warnings}


def test_from_ed_to_es_is_enough_where_the_curve_levels_at_both():
    curve = 100 - 48 * (1 - np.cos(np.pi * np.clip((np.arange(25) - 4) / 16, 0, 1))) / 2
    assert read(curve)[1:] == ("", 0)
    assert "ES" in read(curve[:16])[1] and "ED" in read(curve[9:])[1]
    assert "ED" in read(curve[::-1])[1]  # a filling shows neither end of a systole


@pytest.mark.parametrize("rate_hz", [25, 40, 60, 80])
def test_a_half_sequence_of_exactly_ed_to_es_is_enough(rate_hz):
    num_frames = round(0.34 * rate_hz)
    curve = 100 - 48 * (1 - np.cos(np.pi * np.arange(num_frames + 1) / num_frames)) / 2
    ef, reason, _ = read(curve, 1 / rate_hz)
    assert reason == ""
    assert ef == pytest.approx(48, abs=3)
    for part in (curve[: 3 * len(curve) // 4], curve[len(curve) // 3 :]):
        assert read(part, 1 / rate_hz)[1].startswith("The clip may begin or end")


def test_a_ripple_in_diastole_is_no_beat():
    times = np.arange(30) * FRAME_S
    ripple = 100 + 4 * np.sin(2 * np.pi * times / 0.45)
    assert "diastole" in read(ripple)[1]
    _, weak, _ = curve_of([0.9] * 3, 50, ef=12)
    assert read(weak)[1] == ""  # a weak heart with whole beats is no ripple

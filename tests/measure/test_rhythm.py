"""Premature beats, irregular rhythms, and clocks that are no heart's."""

import numpy as np
import pytest

from echoseg.measure.curve import smooth
from echoseg.measure.measure import measure_masks
from echoseg.measure.phases import Beat, find_beats
from echoseg.measure.rhythm import (
    beat_lengths_s,
    heart_rate_bpm,
    is_heart_rate,
    mark_premature,
    time_beats,
)
from heart_makers import beating, curve_of


def reasons(es_frames, ratios):
    beats = [
        Beat(ed_frame=es - 9, es_frame=es, next_ed_frame=None, largest=100, smallest=100 * (1 - r))
        for es, r in zip(es_frames, ratios, strict=True)
    ]
    return [beat.left_out for beat in mark_premature(beats)]


P, A = "premature", "after_premature"


@pytest.mark.parametrize(
    ("es_frames", "ratios", "expected"),
    [
        ((20, 60, 100, 140), (0.6,) * 4, ["", "", "", ""]),
        ((20, 60, 86, 140, 180), (0.6, 0.6, 0.3, 0.65, 0.6), ["", "", P, A, ""]),
        # interpolated: early, weak, no pause
        ((20, 60, 80, 100, 140, 180), (0.6, 0.6, 0.3, 0.55, 0.6, 0.6), ["", "", P, A, "", ""]),
        # the clip's first beat: weak, then a pause
        ((20, 74, 114, 154), (0.3, 0.66, 0.6, 0.6), [P, A, "", ""]),
        ((20, 60, 100, 126), (0.6, 0.6, 0.6, 0.3), ["", "", "", P]),
        # pulsus alternans: strokes differ, times do not
        ((20, 60, 100, 140, 180), (0.6, 0.4, 0.6, 0.4, 0.6), [""] * 5),
        # bigeminy: half of the beats would go
        ((20, 46, 100, 126, 180, 206), (0.6, 0.3, 0.6, 0.3, 0.6, 0.3), [""] * 6),
        # atrial fibrillation
        ((20, 50, 100, 122, 180, 214, 240), (0.6, 0.5, 0.6, 0.4, 0.6, 0.5, 0.4), [""] * 7),
        # three beats cannot say which of them is the rule
        ((20, 46, 100), (0.6, 0.3, 0.6), [""] * 3),
    ],
)
def test_premature_beats_and_those_after_them_are_marked(es_frames, ratios, expected):
    assert reasons(es_frames, ratios) == expected


def test_a_premature_beat_of_a_curve_is_left_out_of_its_mean():
    lengths_s = [0.9, 0.9, 0.55, 1.25, 0.9, 0.9]
    drop = (1, 1, 1, 0.5, 1.1, 1)
    _, volume, _ = curve_of(lengths_s, 40, skip_s=0.3, drop=drop)
    beats = mark_premature(find_beats(smooth(volume, 0.025), 0.025))
    assert [beat.left_out for beat in beats] == ["", "", P, A, ""]  # the curve's first is cut off
    kept = [100 * beat.ejection_ratio for beat in beats if not beat.left_out]
    assert np.mean(kept) == pytest.approx(60, abs=0.5)


def test_atrial_fibrillation_is_seldom_taken_for_premature_beats():
    generator = np.random.default_rng(0)
    taken = 0
    for _ in range(500):
        intervals = generator.normal(34, 8, 5).clip(16)
        es = np.concatenate([[20], 20 + np.cumsum(intervals)]).astype(int)
        ratios = 0.3 + 0.25 * np.clip(np.concatenate([[34], intervals]) / 34, 0.5, 1.2)
        taken += any(reasons(es.tolist(), ratios.tolist()))
    assert taken / 500 < 0.1


@pytest.mark.parametrize(("factor", "rate"), [(3.0, 27), (1 / 3, 240)])
def test_a_clock_that_no_heart_follows_is_told_and_makes_no_smoothing(factor, rate):
    masks, times, _ = beating(130, phase=0.5)
    right = measure_masks(masks, spacing_mm=(1.0, 1.0), times_s=times)
    found = measure_masks(masks, spacing_mm=(1.0, 1.0), times_s=times * factor)
    messages = {warning.code: warning.message for warning in found.warnings}
    assert f"imply {rate} beats" in messages["clock_implausible"]
    assert "fps" in messages["clock_implausible"]
    assert found.heart_rate_bpm is None
    assert found.peak_ejection_rate_ml_per_s is None
    assert all(beat.peak_filling_rate_edv_per_s is None for beat in found.beats)
    assert found.num_beats == right.num_beats
    assert found.ef_percent == pytest.approx(right.ef_percent, abs=0.5)
    assert abs(found.ed_frame - right.ed_frame) % 30 <= 1
    assert "clock_implausible" not in {warning.code for warning in right.warnings}
    assert right.heart_rate_bpm == pytest.approx(80, abs=2)


@pytest.mark.parametrize(("step_s", "rate"), [(0.1, 600), (10.0, 6)])
def test_r_waves_that_no_heart_has_are_blamed_where_there_are_no_frame_times(step_s, rate):
    masks, _, _ = beating(130, phase=0.5)
    waves_s = tuple(step_s * np.arange(5))
    found = measure_masks(masks, spacing_mm=(1.0, 1.0), times_s=None, r_wave_times_s=waves_s)
    message = {one.code: one.message for one in found.warnings}["clock_implausible"]
    assert message.startswith(f"The R waves imply {rate} beats per minute")
    assert "frame" not in message and "--fps" not in message and found.heart_rate_bpm is None


def test_rates_of_hearts():
    assert heart_rate_bpm(np.zeros(0)) is None
    assert is_heart_rate(None)
    assert [is_heart_rate(rate) for rate in (27, 35, 75, 190, 240)] == [False, *[True] * 3, False]


def test_each_beat_has_the_rate_of_its_own_length():
    lengths_s = [0.8, 1.0, 0.75, 1.2]
    times, volume, begins = curve_of([*lengths_s, 0.9], 50, skip_s=0.0)
    beats = find_beats(smooth(volume, 0.02), 0.02)
    timed = time_beats(beats, times)
    first = len(lengths_s) + 1 - len(timed)  # a beat at the clip's begin is cut off
    rates = [60 / beat.length_s for beat in timed[:-1]]
    assert rates == pytest.approx([60 / s for s in lengths_s[first:]], rel=0.04)
    # R waves decide where they are known; a beat whose own wave, or the next, is not has no rate
    known = [beat.length_s for beat in time_beats(beats, times, tuple(begins[1:4]))]
    owned = {0.8: None, 1.0: 1.0, 0.75: 0.75, 1.2: None}
    expected = [*[owned[length_s] for length_s in lengths_s][1 - len(known) :], None]
    assert known == [None if one is None else pytest.approx(one) for one in expected]
    assert {beat.length_s for beat in time_beats(beats, None)} == {None}
    assert time_beats([], times) == []


def test_the_deviations_are_those_of_the_beats_in_the_mean():
    masks, times, _ = beating(160, phase=0.5)
    found = measure_masks(masks, spacing_mm=(1.0, 1.0), times_s=times)
    averaged = [beat for beat in found.beats if not beat.left_out]
    assert len(averaged) > 2
    assert found.edv_sd_ml == pytest.approx(np.std([b.edv_ml for b in averaged], ddof=1))
    assert found.esv_sd_ml == pytest.approx(np.std([b.esv_ml for b in averaged], ddof=1))
    rates = [beat.heart_rate_bpm for beat in averaged]
    assert rates[0] == pytest.approx(80, abs=4)
    known = [rate for rate in rates if rate is not None]
    assert found.heart_rate_sd_bpm == pytest.approx(np.std(known, ddof=1))
    # a clock that is no heart's gives no rate of a beat either
    slow = measure_masks(masks, spacing_mm=None, times_s=times * 3)
    assert {beat.heart_rate_bpm for beat in slow.beats} == {None}
    assert slow.edv_sd_ml is None


@pytest.mark.parametrize("leak", [0.0, 2.0, -2.0], ids=["flat", "falls", "rises"])
@pytest.mark.parametrize("seen_s", [0.25, 0.3, 0.6], ids="{} s of the next beat".format)
def test_the_length_of_one_beat_does_not_depend_on_where_its_plateau_is_largest(leak, seen_s):
    times, volume, begins = curve_of([0.9, 1.2, 0.9], 50, skip_s=0.7)
    since = np.clip((times - begins[1] - 0.63) / 0.5, 0, 1)
    volume = volume - leak * since * (times < begins[2] + 0.05)
    shown = times < begins[2] + seen_s
    for seed in range(10):
        noisy = volume[shown] + np.random.default_rng(seed).normal(0, 0.5, shown.sum())
        (beat,) = find_beats(smooth(noisy, 0.02), 0.02)[:1]
        (length_s,) = beat_lengths_s([beat], times[shown])
        assert length_s == pytest.approx(1.2, abs=0.05)


def test_a_beat_whose_end_the_clip_does_not_show_has_no_length():
    times, volume, begins = curve_of([0.9, 1.2, 0.9], 50, skip_s=0.7)
    shown = times < begins[2]  # ends on the plateau
    (beat,) = find_beats(smooth(volume[shown], 0.02), 0.02)
    assert beat.next_ed_frame is None
    assert not len(beat_lengths_s([beat], times[shown]))

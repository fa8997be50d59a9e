"""Beats of curves whose ED and ES are known."""

import numpy as np
import pytest

from echoseg.measure.curve import smooth
from echoseg.measure.measure import Timing, read_curves
from echoseg.measure.phases import Beat, find_beats, part_of_beat
from echoseg.measure.rhythm import beat_lengths_s, heart_rate_bpm, is_irregular
from heart_makers import curve_of


def beats_of(times, volume, r_waves_s=()):
    frame_s = float(np.median(np.diff(times)))
    frames = tuple(int(np.abs(times - t).argmin()) for t in r_waves_s)
    return find_beats(smooth(volume, frame_s), frame_s, frames)


@pytest.mark.parametrize("rate_hz", [20, 30, 50, 100, 200])
def test_every_beat_is_found_at_any_frame_rate(rate_hz):
    times, volume, begins = curve_of([0.9] * 5, rate_hz, skip_s=0.4)
    beats = beats_of(times, volume)
    assert len(beats) == 4
    for beat, begin in zip(beats, begins[1:5], strict=True):
        assert times[beat.ed_frame] == pytest.approx(begin, abs=0.08)
        assert times[beat.es_frame] == pytest.approx(begin + 0.35, abs=0.07)
        assert beat.ejection_ratio == pytest.approx(0.6, abs=0.02)


def test_an_irregular_rhythm_with_weak_beats_is_followed_and_named():
    lengths_s = [0.8, 1.2, 0.65, 1.4, 0.7, 0.95]
    times, volume, _ = curve_of(lengths_s, 40, skip_s=0.45, drop=(1, 0.9, 1, 0.5, 1, 0.8))
    beats = beats_of(times, volume)
    ratios = [beat.ejection_ratio for beat in beats]
    assert ratios == pytest.approx([0.54, 0.6, 0.3, 0.6, 0.48], abs=0.02)
    assert is_irregular(beat_lengths_s(beats, times))
    assert not is_irregular(beat_lengths_s(beats_of(*curve_of([0.9] * 6, 40)[:2]), times))


def test_a_systole_cut_off_at_the_begin_or_the_end_is_no_beat():
    times, volume, _ = curve_of([0.9, 0.9], 40, skip_s=0.2)  # begins in mid-ejection
    assert len(beats_of(times, volume)) == 1
    end = np.searchsorted(times, 0.7 + 0.2)  # ends in the next ejection
    assert beats_of(times[:end], volume[:end]) == []


def test_r_waves_begin_the_beats_where_they_are_known():
    times, volume, begins = curve_of([0.9, 0.7, 1.0], 50)
    beats = beats_of(times, volume, begins[:3])
    assert len(beats) == 3
    assert [times[beat.ed_frame] for beat in beats] == pytest.approx(list(begins[:3]), abs=0.07)
    assert beats[0].next_ed_frame == beats[1].ed_frame
    assert heart_rate_bpm(beat_lengths_s(beats, times, tuple(begins))) == pytest.approx(60 / 0.9)


@pytest.mark.parametrize("seen_s", [1.24, 1.5])
def test_an_r_wave_just_before_the_clip_does_not_take_its_beat_away(seen_s):
    times, volume, begins = curve_of([1.2, 1.2], 50, skip_s=0.02)
    shown = times < seen_s
    waves = Timing(times_s=times[shown], r_wave_times_s=tuple(begins[:2]))
    _, (beat,), lengths_s = read_curves(volume[shown], waves)
    _, (by_curve,), _ = read_curves(volume[shown], Timing(times_s=times[shown]))
    assert (beat.ed_frame, beat.es_frame) == (by_curve.ed_frame, by_curve.es_frame)
    assert beat.ejection_ratio == pytest.approx(0.6, abs=0.02)
    assert lengths_s == pytest.approx([1.2])
    assert beat.length_s == pytest.approx(1.2)


def test_frames_without_a_volume_are_neither_ed_nor_es():
    times, volume, _ = curve_of([0.9] * 3, 40, skip_s=0.4)
    before = beats_of(times, volume)
    known = np.ones(len(times), bool)
    known[[beat.es_frame for beat in before]] = False
    found = find_beats(smooth(volume, 0.025), 0.025, (), known)
    assert len(found) == len(before)
    assert all(known[beat.ed_frame] and known[beat.es_frame] for beat in found)


def test_a_flat_curve_and_a_short_one_have_no_beat():
    assert find_beats(np.full(50, 7.0), 0.02) == []
    assert find_beats(np.array([1.0]), 0.02) == []
    assert heart_rate_bpm(np.zeros(0)) is None


def test_without_a_whole_systole_neighbours_are_paired_never_two_beats():
    # ES of a weak beat, its filling, then an ejection that the clip cuts: ED 100, ES 70, next 60
    falling = np.linspace(95, 70, 8)
    filling = np.linspace(70, 100, 10)
    cut = np.linspace(100, 60, 9)
    curve = np.concatenate([falling, filling[1:], cut[1:]])
    beat = part_of_beat(curve, np.ones(len(curve), bool))
    assert (curve[beat.ed_frame], curve[beat.es_frame]) == (100, 60)
    # here the largest volume is the first beat's and the smallest the last one's: not paired
    curve = np.concatenate(
        [np.linspace(120, 80, 8), np.linspace(80, 100, 8), np.linspace(100, 75, 8)]
    )
    beat = part_of_beat(curve, np.ones(len(curve), bool))
    assert (beat.largest, beat.smallest) == (120, 80)
    known = np.ones(len(curve), bool)
    known[0] = False
    assert part_of_beat(curve, known).ed_frame == 1


@pytest.mark.parametrize(("first", "last"), [(0.12, 1.02), (0.2, 1.1), (0.38, 1.2), (0.0, 0.3)])
def test_a_part_of_a_beat_spans_what_it_shows(first, last):
    volume = curve_of([0.9] * 3, 100)[1]
    part = slice(int(first * 100), int(last * 100))
    beat = part_of_beat(volume[part], np.ones(len(volume[part]), bool))
    assert beat.largest == volume[part].max()
    assert beat.ejection_ratio >= 0.9 * (1 - volume[part].min() / volume[part].max())
    assert abs(beat.ed_frame - beat.es_frame) < 0.9 * 100


def test_the_ejection_ratio_stays_a_ratio():
    assert (
        Beat(ed_frame=0, es_frame=1, next_ed_frame=None, largest=0, smallest=0).ejection_ratio == 0
    )
    assert (
        Beat(ed_frame=0, es_frame=1, next_ed_frame=None, largest=9, smallest=-1).ejection_ratio == 1
    )

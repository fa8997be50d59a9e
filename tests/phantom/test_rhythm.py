"""Beats: what each rhythm must show."""

import numpy as np
import pytest

from echoseg.phantom import Rhythm
from echoseg.phantom.rhythm import Beats
from echoseg.phantom.truth import whole_beats

SEEDS = range(30)


def beats_of(seed, rhythm, duration_s=4.0):
    return Beats.draw(np.random.default_rng(seed), rhythm, duration_s)


@pytest.mark.parametrize("seed", SEEDS)
def test_premature_beats_really_occur(seed):
    """Inside the clip, weaker, early, and followed by a pause."""
    beats = beats_of(seed, Rhythm.PREMATURE)
    early = np.flatnonzero(beats.premature)
    assert early.size
    first = early[0]
    assert 0 < beats.r_peaks_s[first] < 4.0
    intervals = np.diff(beats.r_peaks_s)
    usual = np.median(np.delete(intervals, [*early, *(early - 1)]))
    assert intervals[first - 1] < 0.8 * usual < 1.15 * usual < intervals[first]
    assert beats.strength[first] < 0.75


def test_fibrillation_is_irregular_and_has_no_atrial_kick():
    spread = {}
    for rhythm in (Rhythm.SINUS, Rhythm.ATRIAL_FIBRILLATION):
        intervals = np.diff(beats_of(1, rhythm, 60.0).r_peaks_s)
        spread[rhythm] = intervals.std() / intervals.mean()
    assert spread[Rhythm.ATRIAL_FIBRILLATION] > 0.15
    assert spread[Rhythm.SINUS] < 0.05


@pytest.mark.parametrize("rhythm", Rhythm)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_contraction_stays_in_range_and_does_not_jump(rhythm, seed):
    beats = beats_of(seed, rhythm)
    times_s = np.linspace(0, 4, 4001)
    contraction = beats.contraction(times_s)
    assert contraction.min() >= 0
    assert contraction.max() <= beats.strength.max()
    assert np.abs(np.diff(contraction)).max() < 0.05


def test_the_beats_cover_the_clip():
    beats = beats_of(7, Rhythm.SINUS, 10.0)
    assert beats.r_peaks_s[0] <= 0
    assert beats.r_peaks_s[-1] > 10.0


def test_the_mitral_valve_is_shut_while_the_aortic_is_open():
    beats = beats_of(3, Rhythm.SINUS)
    times_s = np.linspace(0, 4, 2000)
    assert (beats.mitral_opening(times_s) * beats.aortic_opening(times_s)).max() < 0.3
    assert beats.mitral_opening(times_s).max() > 0.9


def test_ed_comes_before_es_in_every_whole_beat():
    volume_ml = np.array([90.0, 80, 50, 70, 95, 94, 60, 40, 80, 99])
    beat_index = np.array([0, 0, 0, 0, 0, 1, 1, 1, 1, 1])
    beats = whole_beats(volume_ml, beat_index, np.arange(10.0), np.array([0.0, 5, 9]))
    assert beats == ((0, 2), (5, 7))

"""The regularized curve: exact where it is smooth, calm where it jitters, within its range."""

import subprocess
import sys

import numpy as np
import pytest

from echoseg.measure.curve import (
    SMOOTHING_S,
    jitter,
    parabolas,
    rates_per_s,
    smooth,
    smooth_at_length,
)
from echoseg.measure.phases import find_beats
from heart_makers import curve_of


def test_the_smoother_keeps_a_parabola_and_takes_a_spike_away():
    times = np.arange(40) / 50
    parabola = 3 + 2 * times - 5 * times**2
    assert smooth(parabola, 0.02)[3:-3] == pytest.approx(parabola[3:-3], abs=1e-3)
    spiked = parabola.copy()
    spiked[20] += 4
    assert smooth(spiked, 0.02) == pytest.approx(parabola, abs=0.05)
    assert rates_per_s(parabola, 0.02)[20] == pytest.approx(2 - 10 * times[20], abs=0.02)


@pytest.mark.parametrize("skip_s", [0.0, 0.02, 0.05, 0.4])
@pytest.mark.parametrize("rate_hz", [25, 50, 100])
def test_a_clean_curve_keeps_its_largest_and_smallest_wherever_it_begins(skip_s, rate_hz):
    _, volume, _ = curve_of([0.9] * 3, rate_hz, skip_s=skip_s)
    curve = smooth(volume, 1 / rate_hz)
    assert curve.max() <= volume.max()
    assert curve.max() == pytest.approx(100, abs=0.1)
    assert curve.min() == pytest.approx(40, abs=0.5)
    assert smooth_at_length(volume, 1 / rate_hz)[1] == SMOOTHING_S


def test_jitter_is_the_standard_deviation_of_what_differs_from_frame_to_frame():
    times, volume, _ = curve_of([0.9] * 20, 50)
    assert jitter(volume) < 0.5
    noisy = volume + np.random.default_rng(0).normal(0, 4, len(times))
    assert jitter(noisy) == pytest.approx(4, rel=0.15)


@pytest.mark.parametrize(("ef", "bound"), [(8, 4.0), (15, 4.0), (30, 3.5)])
def test_a_weak_heart_whose_masks_jitter_has_no_beats_but_its_own(ef, bound):
    """Frames whose size jitters by 2 %, 6 % of volume, at 40 frames per second."""
    generator = np.random.default_rng(1)
    found, ratios = [], []
    for _ in range(12):
        _, volume, _ = curve_of([0.8] * 6, 40, skip_s=generator.uniform(0, 0.8), ef=ef)
        noisy = volume[:120] * np.exp(3 * generator.normal(0, 0.02, 120))
        beats = find_beats(smooth(noisy, 0.025), 0.025)
        found.append(len(beats))
        ratios += [100 * beat.ejection_ratio for beat in beats]
    assert smooth_at_length(noisy, 0.025)[1] > SMOOTHING_S
    assert 2.5 <= np.mean(found) <= 3.8  # 3 s of 0.8 s each: three or four whole systoles
    assert abs(np.mean(ratios) - ef) < bound


def test_few_frames_and_a_flat_curve_stay_as_they_are():
    assert smooth(np.array([3.0, 1.0, 2.0])).tolist() == [3, 1, 2]
    assert smooth(np.full(30, 7.0)) == pytest.approx(np.full(30, 7.0))
    assert jitter(np.array([1.0, 2.0])) == 0


@pytest.mark.parametrize(("num_frames", "window"), [(5, 5), (7, 5), (40, 11), (41, 41)])
def test_parabolas_are_the_filter_of_savitzky_and_golay_at_the_ends_too(num_frames, window):
    from scipy.signal import savgol_filter

    values = np.random.default_rng(num_frames).normal(size=num_frames)
    curve, slopes = parabolas(values, window)
    assert curve == pytest.approx(savgol_filter(values, window, 2), abs=1e-12)
    assert slopes == pytest.approx(savgol_filter(values, window, 2, deriv=1), abs=1e-12)


def test_measuring_does_not_load_scipy_s_signal_processing():
    code = "import sys, echoseg.inference.analyzer; print('scipy.signal' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "False\n"

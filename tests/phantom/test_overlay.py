"""What is drawn over the picture leaves the heart alone and keeps time with it."""

import numpy as np
import pytest

from echoseg.phantom import Phantom, PhantomConfig, Rhythm, Style
from echoseg.phantom.overlay import Overlay, draw_overlay, ecg
from echoseg.phantom.rhythm import Beats


def all_of_it(quality=None):
    return Overlay(ecg=True, ticks=True, text=True, bar=True, jpeg_quality=quality)


@pytest.fixture(scope="module")
def phantom():
    return Phantom(PhantomConfig(seed=4, size_px=160, num_frames=4, overlay=False))


def test_the_sector_is_hardly_touched(phantom):
    plain = phantom.frames()
    args = (phantom.simulator.sector, phantom.beats, phantom.times_s)
    drawn = draw_overlay(plain, all_of_it(), *args)
    changed = drawn != plain
    inside = phantom.simulator.sector.mask
    assert changed[:, ~inside].sum() > 200
    assert changed[:, inside].mean() < 0.01


def test_the_codec_leaves_small_marks(phantom):
    plain = phantom.frames()
    overlay = Overlay(ecg=False, ticks=False, text=False, bar=False, jpeg_quality=60)
    coded = draw_overlay(plain, overlay, phantom.simulator.sector, phantom.beats, phantom.times_s)
    apart = np.abs(coded.astype(int) - plain)
    assert 0.2 < apart.mean() < 8
    none = Overlay(ecg=False, ticks=False, text=False, bar=False, jpeg_quality=None)
    args = (phantom.simulator.sector, phantom.beats, phantom.times_s)
    assert np.array_equal(draw_overlay(plain, none, *args), plain)


def test_the_ecg_peaks_at_the_r_waves_and_p_waves_miss_in_fibrillation():
    heights = {}
    for rhythm in (Rhythm.SINUS, Rhythm.ATRIAL_FIBRILLATION):
        beats = Beats.draw(np.random.default_rng(2), rhythm, 4.0)
        inside = beats.r_peaks_s[1:-1]
        assert ecg(beats, inside).min() > 0.95
        heights[rhythm] = ecg(beats, inside - 0.16)
    assert heights[Rhythm.SINUS].min() > 0.1
    assert np.median(heights[Rhythm.ATRIAL_FIBRILLATION]) < 0.05


def test_held_out_overlays_are_none_of_the_training_ones():
    rng = np.random.default_rng(0)
    train = [Overlay.draw(rng, Style.TRAIN) for _ in range(200)]
    held = [Overlay.draw(rng, Style.HELD_OUT) for _ in range(200)]
    coarsest = min(o.jpeg_quality for o in train if o.jpeg_quality)
    assert all(o.jpeg_quality is None or o.jpeg_quality < coarsest for o in held)
    assert all(o.bar for o in held) and not any(o.bar for o in train)

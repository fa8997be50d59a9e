"""The heart keeps its promises: ejection fraction, wall thickness, one heart in every view."""

import numpy as np
import pytest

from echoseg.clip import View
from echoseg.errors import ConfigError
from echoseg.phantom import Phantom, PhantomConfig, Phenotype, Rhythm, Tier
from echoseg.phantom.body import Cut
from echoseg.phantom.heart import Heart
from echoseg.phantom.rhythm import Beats

SEEDS = range(8)


def heart_of(seed, **asked):
    rng = np.random.default_rng(seed)
    beats = Beats.draw(rng, Rhythm.SINUS, 1.0)
    return Heart(np.random.default_rng(seed + 100), beats, **asked)


def beat_volumes(heart, num=300):
    start, end = heart.beats.r_peaks_s[:2]
    return heart.volume_ml(start + np.linspace(0, end - start - 0.01, num))


@pytest.mark.parametrize("ef_percent", [20, 45, 65])
@pytest.mark.parametrize("seed", SEEDS)
def test_the_ejection_fraction_asked_for_is_reached(seed, ef_percent):
    volumes = beat_volumes(heart_of(seed, ef_percent=ef_percent, phenotype=Phenotype.NORMAL))
    assert 100 * (1 - volumes.min() / volumes.max()) == pytest.approx(ef_percent, abs=0.7)


def test_an_ejection_fraction_out_of_reach_is_refused():
    with pytest.raises(ConfigError, match="ef_percent must be at most"):
        for seed in range(40):
            heart_of(seed, ef_percent=80, phenotype=Phenotype.ISCHAEMIC)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_wall_goes_from_the_drawn_ed_to_the_drawn_es_thickness(seed):
    """In the A4C plane, where the wall was measured, and in proportion in between."""
    heart = heart_of(seed, phenotype=Phenotype.CAMUS)
    rings, half = heart.ventricle.rings, 13
    times_s = heart.beats.r_peaks_s[0] + np.linspace(0.0, 0.5, 12)
    share = heart._motion(times_s)(rings, np.zeros((1, rings.size)))
    cut = Cut(
        points_mm=np.zeros((12, rings.size, 2)),
        ring=np.broadcast_to(rings, share.shape),
        angle_rad=np.zeros(share.shape),
    )
    ed, es = (
        np.interp(rings, np.linspace(0, 1, half), wall[::-1][:half])
        for wall in heart.landmarks.wall_mm
    )
    expected = np.clip(ed + share * (es - ed), 0.5 * ed, 2.4 * ed)
    assert np.allclose(heart.wall_mm(cut, times_s), expected, atol=1e-6)


def test_the_wall_of_a2c_is_thicker_as_readers_of_camus_draw_it():
    ratios = []
    for seed in range(16):
        mean, step, uneven, thicker = heart_of(seed)._wall_mm[0]
        sides = [
            mean + step * np.cos(angle) + uneven * np.sin(angle) + thicker * np.sin(angle) ** 2
            for angle in (np.pi / 3, np.pi / 3 + np.pi)
        ]
        ratios.append((0.5 * (sides[0] + sides[1]) / mean).mean())
    assert 1.15 < np.mean(ratios) < 1.5  # CAMUS: 1.3


def test_contraction_thickens_the_wall():
    phantom = Phantom(PhantomConfig(seed=3, ef_percent=60, phenotype=Phenotype.NORMAL))
    rest, tight = phantom.contraction.argmin(), phantom.contraction.argmax()
    walls = phantom.section.wall_mm[:, 10:55].mean(1)
    assert 1.02 * walls[rest] < walls[tight] < 1.3 * walls[rest]  # CAMUS's readers: 13 %


def test_views_and_tiers_show_one_heart():
    truths = [
        Phantom(PhantomConfig(seed=11, view=view, tier=tier, num_frames=6, size_px=96)).truth()
        for view, tier in ((View.A4C, Tier.EASY), (View.A2C, Tier.EASY), (View.ALAX, Tier.EXTREME))
    ]
    for truth in truths[1:]:
        assert np.array_equal(truth.volume_ml, truths[0].volume_ml)
        assert truth.r_peaks_s.tolist() == truths[0].r_peaks_s.tolist()


def test_a_longer_clip_begins_like_a_shorter_one():
    short, long = (Phantom(PhantomConfig(seed=5, num_frames=n, frame_rate_hz=50)) for n in (8, 40))
    assert np.allclose(short.contraction, long.contraction[:8])
    assert np.allclose(short.section.endo_mm[:, :, 1], long.section.endo_mm[:8, :, 1], atol=2.5)


def test_late_walls_move_late():
    heart = heart_of(2, phenotype=Phenotype.DYSSYNCHRONOUS)
    times_s = heart.beats.r_peaks_s[0] + np.linspace(0, 0.6, 200)
    field = heart._motion(times_s)
    ring = np.array([0.5])
    peaks = [field(ring, np.full((200, 1), angle)).argmax() for angle in (np.pi, 0.0)]
    assert times_s[peaks[1]] - times_s[peaks[0]] == pytest.approx(heart.delay_s, abs=0.02)


def test_a_still_region_moves_less():
    heart = heart_of(4, phenotype=Phenotype.ISCHAEMIC)
    part = heart.regional
    near = heart._mobility(np.array([part.ring]), np.array([[part.angle_rad]]))
    far = heart._mobility(np.array([part.ring]), np.array([[part.angle_rad + np.pi]]))
    assert near.item() == pytest.approx(part.rest)
    assert far.item() > 0.9

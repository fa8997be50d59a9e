"""Clips made of two stills: what is exact, what is requested, what the speckle does."""

import numpy as np
import pytest
from pydantic import ValidationError
from scipy.ndimage import binary_erosion, gaussian_filter

from animated_makers import SPACING_MM, sector, stills
from echoseg.data.animate import Heart
from echoseg.data.animate_config import AnimationConfig, timeline
from echoseg.errors import ArgumentError, ConfigError, DatasetError
from echoseg.measure.volumes import ejection_fraction
from echoseg.metrics.segmentation import compare_masks


@pytest.fixture(scope="module")
def heart():
    frames, masks = stills()
    return Heart(frames, masks, spacing_mm=SPACING_MM)


def test_ed_and_es_are_the_stills_themselves(heart):
    animated = heart.animate(AnimationConfig(seed=3))
    frames, annotation = animated.clip.frames, animated.annotation
    ends = [annotation.ed_frame, annotation.es_frame]
    np.testing.assert_array_equal(frames[ends], heart.frames)
    np.testing.assert_array_equal(annotation.masks[ends], heart.masks)
    expected = ejection_fraction(heart.masks, SPACING_MM)
    assert annotation.ef_percent == pytest.approx(expected, abs=1e-6)
    assert animated.volumes[ends].tolist() == [annotation.edv_ml, annotation.esv_ml]


def test_masks_near_a_still_are_nearly_its_own(heart):
    """The warp itself, not only the frames that are copied."""
    for still, phase in ((0, 0.001), (1, 0.999)):
        mask = heart.mask_at(phase)
        assert (mask != heart.masks[still]).mean() < 0.002


def test_the_motion_alone_brings_the_masks_of_ed_to_es(heart):
    from echoseg.data.animate import pull, to_grid

    _, to_ed = heart.fields(np.array([1.0]))[::-1]
    moved = pull(heart._distances[0], to_grid(to_ed, heart.shape)) > 0
    assert compare_masks(moved[0].numpy(), heart.masks[1] == 1, None).dice > 0.97


def test_volumes_fall_from_ed_to_es_and_rise_after(heart):
    animated = heart.animate(AnimationConfig(seed=1, frame_rate_hz=50, through_plane=0))
    ed, es = animated.annotation.ed_frame, animated.annotation.es_frame
    volumes = animated.volumes
    assert (np.diff(volumes[ed : es + 1]) < 0.3).all()
    assert volumes[es] == volumes.min()
    assert (np.diff(volumes[es:]) > -0.3).all()


@pytest.mark.parametrize("ef_percent", [20, 45, 55])
def test_a_requested_ejection_fraction_is_met(heart, ef_percent):
    config = AnimationConfig(seed=2, ef_percent=ef_percent, num_frames=24, frame_rate_hz=30)
    annotation = heart.animate(config).annotation
    assert annotation.ef_percent == pytest.approx(ef_percent, abs=1)


def test_an_ejection_fraction_out_of_reach_is_refused(heart):
    with pytest.raises(ConfigError, match=r"ef_percent must be 0 to \d+\.\d for this heart, got 9"):
        heart.animate(AnimationConfig(ef_percent=90))


def test_the_same_seed_gives_the_same_bytes_and_another_gives_others(heart):
    first, again, other = (heart.animate(AnimationConfig(seed=seed)) for seed in (4, 4, 5))
    assert first.clip.frames.tobytes() == again.clip.frames.tobytes()
    assert first.annotation.masks.tobytes() == again.annotation.masks.tobytes()
    assert first.clip.frames.tobytes() != other.clip.frames.tobytes()


def test_black_outside_the_sector_stays_black(heart):
    frames = heart.animate(AnimationConfig(seed=6, through_plane=0.03, num_beats=2)).clip.frames
    assert not frames[:, ~sector()].any()
    assert (frames[:, sector()] > 0).mean() > 0.98


def test_speckle_has_the_set_correlation_from_frame_to_frame(heart):
    """In diastasis nothing moves, so what changes is the speckle."""
    config = AnimationConfig(
        seed=7,
        heart_rate_bpm=40,
        frame_rate_hz=50,
        num_beats=3,
        tissue_decorrelation_s=0.08,
        blood_decorrelation_s=0.02,
        through_plane=0,
    )
    animated = heart.animate(config)
    still = np.flatnonzero(np.abs(np.diff(animated.phases)) < 1e-6)
    far = [t for t in still if abs(t - animated.annotation.ed_frame) > 8]
    assert len(far) > 10
    logs = np.log(animated.clip.frames.astype(float) + 8)
    residual = logs - logs[far].mean(0)
    for label, seconds in ((2, 0.08), (1, 0.02)):
        inside = (animated.annotation.masks == label).all(0)
        pairs = [np.corrcoef(residual[t][inside], residual[t + 1][inside])[0, 1] for t in far]
        assert np.mean(pairs) == pytest.approx(np.exp(-0.02 / seconds), abs=0.08)


def test_the_picture_does_not_flicker():
    """With equal stills only speckle changes, so the mean level stays, at every phase."""
    frames, masks = stills()
    twice = Heart(np.repeat(frames[:1], 2, 0), masks)
    animated = twice.animate(AnimationConfig(seed=5, frame_rate_hz=60, through_plane=0))
    levels = animated.clip.frames[:, sector()].mean(1)
    assert np.abs(np.diff(levels) / levels.mean()).max() < 0.01


def test_speckle_stays_about_as_strong_between_the_stills(heart):
    """Cross-fading weakens what is wider than speckle, so it is a little less."""
    animated = heart.animate(AnimationConfig(seed=8, frame_rate_hz=40, through_plane=0))
    logs = np.log(animated.clip.frames.astype(float) + 8)
    rest = logs - gaussian_filter(logs, (0, 2, 2))
    walls = [binary_erosion(mask == 2, iterations=3) for mask in animated.annotation.masks]
    strength = np.array([each[wall].std() for each, wall in zip(rest, walls, strict=True)])
    ends = [animated.annotation.ed_frame, animated.annotation.es_frame]
    np.testing.assert_allclose(strength / strength[ends].mean(), 1, atol=0.3)


def test_a_timeline_holds_what_was_asked_for():
    config = AnimationConfig(heart_rate_bpm=60, frame_rate_hz=50, num_beats=3)
    time = timeline(config, np.random.default_rng(0))
    assert len(time.times_s) == 150
    assert np.diff(time.times_s) == pytest.approx(0.02)
    assert np.diff(time.r_wave_times_s) == pytest.approx(1, abs=0.1)
    assert (time.contraction[time.ed_frame], time.contraction[time.es_frame]) == (0, 1)
    assert 0.25 < (time.es_frame - time.ed_frame) / 50 < 0.45


@pytest.mark.parametrize("seed", range(20))
def test_drawn_timelines_hold_ed_and_es_in_any_length(seed):
    for num_frames in (4, 12, 16, 32):
        time = timeline(AnimationConfig(num_frames=num_frames), np.random.default_rng(seed))
        assert 0 <= time.ed_frame < time.es_frame < num_frames == len(time.times_s)


def test_frames_too_few_for_ed_and_es_are_refused(heart):
    with pytest.raises(ConfigError, match=r"num_frames must be at least \d+ to hold ED and ES at"):
        heart.animate(AnimationConfig(num_frames=5, frame_rate_hz=60))


def test_a_still_without_a_cavity_is_refused():
    frames, masks = stills()
    with pytest.raises(DatasetError, match="masks must have an LV cavity at ED and at ES"):
        Heart(frames, np.where(masks == 1, 0, masks))


BAD_STILLS = {
    "a smaller mask": (lambda f, m: (f, m[:, 1:]), r"masks must have the clip's shape \(2, 120"),
    "one mask": (lambda f, m: (f, m[:1]), "masks must have the clip's shape"),
    "three stills": (
        lambda f, m: (f[[0, 1, 1]], m[[0, 1, 1]]),
        "frames must be 2 stills, .* got 3",
    ),
    "fractions": (lambda f, m: (f / 255, m), "frames must be a .* uint8 array, .* float64"),
    "colours": (lambda f, m: (np.stack([f] * 3, -1), m), "frames must be a .* uint8 array"),
    "other labels": (lambda f, m: (f, m * 85), "masks must hold labels 0 to 3, got 255"),
    "wide masks": (lambda f, m: (f, m.astype(int)), "masks must be a .* uint8 array"),
}


@pytest.mark.parametrize("bad", BAD_STILLS)
def test_stills_of_another_shape_type_or_range_are_refused(bad):
    change, message = BAD_STILLS[bad]
    with pytest.raises(ArgumentError, match=message):
        Heart(*change(*stills()))


def test_a_spacing_or_a_motion_that_is_none_is_refused(heart):
    with pytest.raises(ArgumentError, match="spacing_mm must be positive and finite, got"):
        Heart(*stills(), spacing_mm=(float("nan"), 1.0))
    with pytest.raises(ArgumentError, match=r"velocity must have the shape .* got \(2, 3, 3\)"):
        Heart(*stills(), velocity=heart.velocity[:, :3, :3])


@pytest.mark.parametrize("change", [lambda x: 0 * x, lambda x: x[:, 60:61, 66:67]])
def test_stills_without_a_sector_are_refused(change):
    frames, masks = stills()
    masks = np.ones_like(change(masks))
    with pytest.raises(DatasetError, match="frames must have a sector over 4 pixels wide that is"):
        Heart(change(frames), masks)


@pytest.mark.parametrize(
    "field", [{"scales": (0, 9)}, {"scales": (np.nan, 1)}, {"tissue_decorrelation_s": np.inf}]
)
def test_settings_beyond_what_can_be_drawn_are_refused(field):
    with pytest.raises(ValidationError, match=next(iter(field))):
        AnimationConfig(**field)

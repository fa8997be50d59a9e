"""Uncertainty features, of networks and masks whose answer is known."""

import numpy as np
import pytest
import torch

from echoseg.errors import ArgumentError
from echoseg.measure.measurement import Measurement
from echoseg.quality.assess import Ends, assess_reliability, clip_uncertainty
from echoseg.quality.flicker import temporal_features
from echoseg.quality.uncertainty import still_features


class Fixed:
    """Logits by the grey level: cavity where it is above a threshold."""

    streams = True

    def __init__(self, sureness, threshold=0.0):
        self.sureness, self.threshold = sureness, threshold

    def __call__(self, clips):
        logits = torch.zeros(*clips.shape[:2], 4, *clips.shape[3:])
        logits[:, :, 1] = self.sureness * (clips[:, :, 0] > self.threshold)
        logits[:, :, 0] = self.sureness * (clips[:, :, 0] <= self.threshold)
        return logits


def discs(*radii, side=64, center=32):
    y, x = np.mgrid[:side, :side]
    return np.stack([np.hypot(x - center, y - side / 2) < radius for radius in radii])


def stills(es_center=80):
    """ED in the middle, ES of another center."""
    pair = discs(50, side=160, center=80), discs(35, side=160, center=es_center)
    return torch.from_numpy(np.concatenate(pair)).float()[:, None]


class LeftOnly(Fixed):
    """Sees only the left part of the picture."""

    def __call__(self, clips):
        clips = clips.clone()
        clips[..., 110:] = 0
        return super().__call__(clips)


def test_a_sure_network_whose_ef_does_not_depend_on_the_pose_has_no_uncertainty():
    features = still_features(Fixed(50.0, 0.5), stills())
    assert features["entropy"] == pytest.approx(0, abs=1e-6)
    assert features["pose_points"] < 0.5


def test_an_ef_that_changes_with_zoom_is_uncertain():
    assert still_features(LeftOnly(50.0, 0.5), stills(es_center=100))["pose_points"] > 0.9


def test_what_another_gamma_takes_away_counts():
    # 0.5 ** 1.4 is under the threshold, 0.5 ** 0.7 is not
    features = still_features(Fixed(50.0, threshold=0.45), torch.full((2, 1, 8, 8), 0.5))
    assert features["gamma_percent"] == pytest.approx(50)


def test_a_network_near_even_shares_has_all_the_entropy():
    features = still_features(Fixed(1e-4), torch.full((2, 1, 8, 8), 0.5))
    assert features["entropy"] == pytest.approx(1, abs=1e-3)


def test_no_heart_found_is_the_largest_entropy():
    features = still_features(Fixed(50.0, threshold=2.0), torch.full((2, 1, 8, 8), 0.5))
    assert features == {"entropy": 1.0, "pose_points": 0.0, "gamma_percent": 100.0}


def test_flicker_is_the_tenth_percentile_of_dice_over_time():
    masks = discs(*[20] * 21).astype(np.uint8)
    still = temporal_features(masks)
    assert still == {"flicker_percent": 0.0, "area_jitter_percent": 0.0}
    masks[4:7] = discs(*[20] * 3, center=44)  # moves away and back: 2 of 20 steps
    shared = (masks[3] & masks[4]).sum() / masks[3].sum()
    flicker = temporal_features(masks)["flicker_percent"]
    assert 0 < flicker <= 100 * (1 - shared)
    assert temporal_features(masks)["area_jitter_percent"] == 0  # the area stays


def test_an_area_that_jumps_trembles():
    masks = discs(*[20, 24] * 8).astype(np.uint8)
    assert temporal_features(masks)["area_jitter_percent"] > 50


@pytest.mark.parametrize("masks", [np.ones((3, 8, 8), np.uint8), np.zeros((9, 8, 8), np.uint8)])
def test_too_few_frames_or_no_cavity_have_no_flicker(masks):
    assert set(temporal_features(masks).values()) == {None}


def test_a_clip_without_a_wall_is_uncertain_in_all_segments():
    empty = np.zeros((2, 8, 8), np.uint8)
    ends = Ends(torch.full((2, 1, 8, 8), 0.5), empty, empty)
    uncertainty, outside = clip_uncertainty(Fixed(50.0), ends)
    assert (uncertainty.segments_unseen, outside) == (6, 0.0)
    measurement = Measurement(ef_percent=50.0, ef_sd_points=6.0, num_beats=4)
    found = assess_reliability(Fixed(50.0), ends, empty, measurement, view="A4C")
    assert found.interval is None and found.uncertainty.beats_error_points == 3.0
    assert [one.code for one in found.warnings] == ["wall_drop_out"]
    with pytest.raises(ArgumentError, match="this measurement has none"):
        assess_reliability(Fixed(50.0), ends, empty, Measurement(), view="A4C")

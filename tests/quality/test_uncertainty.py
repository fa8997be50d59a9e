"""A network's doubt, of networks whose answer is known."""

import numpy as np
import pytest
import torch

from echoseg.quality.assess import assess_reliability
from echoseg.quality.uncertainty import uncertainty_features


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


def test_a_sure_network_that_gain_does_not_move_has_no_doubt():
    (found,) = uncertainty_features(Fixed(50.0), torch.full((1, 1, 8, 8), 0.5))
    assert found["entropy"] == pytest.approx(0, abs=1e-6)
    assert found["disagreement_percent"] == 0


def test_a_network_near_even_shares_is_all_doubt():
    (found,) = uncertainty_features(Fixed(1e-4), torch.full((1, 1, 8, 8), 0.5))
    assert found["entropy"] == pytest.approx(1, abs=1e-3)


def test_what_another_gain_takes_away_counts():
    # half as dark: 0.8 takes 0.5 under the threshold, 1.25 does not
    (found,) = uncertainty_features(Fixed(50.0, threshold=0.45), torch.full((1, 1, 8, 8), 0.5))
    assert found["disagreement_percent"] == pytest.approx(50)


def test_no_heart_found_is_the_largest_doubt():
    (found,) = uncertainty_features(Fixed(50.0, threshold=2.0), torch.full((1, 1, 8, 8), 0.5))
    assert (found["entropy"], found["disagreement_percent"]) == (1.0, 100.0)


def test_a_clip_without_a_wall_is_doubted_in_all_segments():
    stills = torch.full((2, 1, 8, 8), 0.5)
    empty = np.zeros((2, 8, 8), np.uint8)
    found = assess_reliability(Fixed(50.0), stills, empty, empty, ef_percent=50.0)
    assert found.uncertainty.segments_unseen == 6
    assert found.interval is None
    assert [one.code for one in found.warnings] == ["wall_drop_out"]

import pytest
import torch

from echoseg.train.methods.confidence import confidence, temporal_consistency


def one_hot(labels: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.one_hot(labels, 3).movedim(-1, 2).float()


def test_confidence_is_one_for_a_sure_pixel_and_none_for_an_even_one():
    assert confidence(one_hot(torch.zeros(1, 1, 2, 2).long())).min() == pytest.approx(1, abs=1e-5)
    assert confidence(torch.full((1, 1, 3, 2, 2), 1 / 3)).max() == pytest.approx(0, abs=1e-5)


def test_a_wall_that_moves_within_reach_is_consistent_and_a_flash_is_not():
    labels = torch.zeros(1, 3, 20, 20).long()
    labels[0, 0, 5:10, 5:10] = 1
    labels[0, 1, 5:10, 7:12] = 1
    labels[0, 2, 5:10, 9:14] = 1
    assert temporal_consistency(one_hot(labels), 2).min() == 1
    labels[0, 1, 15:18, 15:18] = 2
    consistency = temporal_consistency(one_hot(labels), 2)
    assert consistency[0, 1, 16, 16] == 0
    assert consistency[0, 1, 2, 2] == 1


def test_a_single_frame_is_consistent():
    assert temporal_consistency(torch.rand(2, 1, 3, 8, 8), 2).min() == 1

import pytest
import torch

from echoseg.train.methods.confidence import certainty, steadiness


def one_hot(labels: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.one_hot(labels, 3).movedim(-1, 2).float()


def test_certainty_is_one_for_a_sure_pixel_and_none_for_an_even_one():
    assert certainty(one_hot(torch.zeros(1, 1, 2, 2).long())).min() == pytest.approx(1, abs=1e-5)
    assert certainty(torch.full((1, 1, 3, 2, 2), 1 / 3)).max() == pytest.approx(0, abs=1e-5)


def test_a_wall_that_moves_within_reach_is_steady_and_a_flash_is_not():
    labels = torch.zeros(1, 3, 20, 20).long()
    labels[0, 0, 5:10, 5:10] = 1
    labels[0, 1, 5:10, 7:12] = 1
    labels[0, 2, 5:10, 9:14] = 1
    assert steadiness(one_hot(labels), 2).min() == 1
    labels[0, 1, 15:18, 15:18] = 2
    steady = steadiness(one_hot(labels), 2)
    assert steady[0, 1, 16, 16] == 0
    assert steady[0, 1, 2, 2] == 1


def test_a_single_frame_is_steady():
    assert steadiness(torch.rand(2, 1, 3, 8, 8), 2).min() == 1

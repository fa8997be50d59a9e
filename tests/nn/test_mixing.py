"""Mixing blocks: every kind lets every place hear of every other, the convolution of near ones."""

import pytest
import torch

from echoseg.nn.mixing import MixingBlock


def block(mixing):
    torch.manual_seed(0)
    return MixingBlock(32, mixing).eval()


@pytest.mark.parametrize("mixing", ["ssd", "mamba1", "conv", "attention"])
@pytest.mark.parametrize("size", [(1, 1), (5, 9)])
def test_shape_is_kept_and_a_batch_gives_what_its_maps_give(mixing, size):
    x = torch.randn(3, 32, *size)
    mix = block(mixing)
    with torch.inference_mode():
        together, alone = mix(x), torch.cat([mix(each[None]) for each in x])
    assert together.shape == x.shape
    assert torch.allclose(together, alone, atol=1e-5)


@pytest.mark.parametrize(
    ("mixing", "reach"), [("ssd", 400), ("mamba1", 400), ("attention", 400), ("conv", 49)]
)
def test_how_far_a_place_is_heard(mixing, reach):
    x = torch.randn(1, 32, 20, 20)
    marked = x.clone()
    marked[0, :, 10, 10] = torch.randn(32)
    mix = block(mixing).double()
    with torch.inference_mode():
        heard = (mix(marked.double()) - mix(x.double())).abs().amax(1) > 0
    assert heard.sum() == reach

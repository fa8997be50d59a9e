import pytest
import torch
from torch.nn import functional

from echoseg.nn.plain_unet import ClipConv, PlainUNet


@pytest.mark.parametrize("num_frames", [1, 2, 5])
def test_a_convolution_over_three_frames_is_a_conv3d(num_frames):
    conv = ClipConv(2, 3, num_frames).double()
    weight = torch.stack(conv.conv.weight.chunk(3, 1), 2)  # C' C 3 3 3
    clips = torch.randn(2, 2, num_frames, 5, 7, dtype=torch.float64)
    expected = functional.conv3d(clips, weight, padding=1)
    found = conv(clips.transpose(1, 2).flatten(0, 1)).unflatten(0, (2, num_frames))
    assert torch.allclose(found.transpose(1, 2), expected, atol=1e-12)


def test_every_level_halves_and_the_frames_size_comes_back():
    net = PlainUNet((2, 3, 4), 5)
    assert [tuple(layer.stride) for layer in net.up] == [(2, 2)] * 2
    assert net(torch.rand(3, 1, 12, 8)).shape == (3, 5, 12, 8)

import torch

from echoseg.nn.plain_unet import PlainUNet


def test_every_level_halves_and_the_frames_size_comes_back():
    net = PlainUNet((2, 3, 4), 5)
    assert [tuple(layer.stride) for layer in net.up] == [(2, 2)] * 2
    assert net(torch.rand(3, 1, 12, 8)).shape == (3, 5, 12, 8)

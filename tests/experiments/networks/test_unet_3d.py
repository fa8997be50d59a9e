import pytest
import torch
from torch.nn import functional

from experiments.networks.unet_3d import ClipConv, UNet3D, UNet3DConfig


@pytest.mark.parametrize("num_frames", [1, 2, 5])
def test_a_convolution_over_three_frames_is_a_conv3d(num_frames):
    conv = ClipConv(2, 3, num_frames).double()
    weight = torch.stack(conv.conv.weight.chunk(3, 1), 2)  # C' C 3 3 3
    clips = torch.randn(2, 2, num_frames, 5, 7, dtype=torch.float64)
    expected = functional.conv3d(clips, weight, padding=1)
    found = conv(clips.transpose(1, 2).flatten(0, 1)).unflatten(0, (2, num_frames))
    assert torch.allclose(found.transpose(1, 2), expected, atol=1e-12)


def test_it_is_small():
    assert sum(p.numel() for p in UNet3D().parameters()) < 2_500_000


def test_in_three_dimensions_a_window_is_seen_whole_and_any_size_is_taken():
    model = UNet3D(UNet3DConfig(num_frames=3, widths=(2, 4, 6, 8))).eval()
    for size in ((24, 40), (8, 8)):
        assert model(torch.rand(2, 3, 1, *size)).shape == (2, 3, 4, *size)


def test_one_frame_in_three_dimensions_is_the_flat_network_of_the_middle_kernels():
    """With the kernels' slices of other frames cut off, each frame is on its own."""
    model = UNet3D(UNet3DConfig(num_frames=4, widths=(2, 4, 6, 8))).eval()
    single = UNet3D(UNet3DConfig(num_frames=1, widths=(2, 4, 6, 8))).eval()
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, ClipConv):
                before, _, after = module.conv.weight.chunk(3, 1)
                before.zero_()
                after.zero_()
        single.load_state_dict(model.state_dict())
        frames = torch.rand(1, 4, 1, 16, 16)
        alone = torch.cat([single(frames[:, t : t + 1]) for t in range(4)], 1)
        assert (model(frames) - alone).abs().max() <= 1e-5

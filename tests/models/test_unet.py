import torch

from echoseg.models import UNet
from echoseg.models.unet import UNetConfig
from echoseg.nn.plain_unet import ClipConv
from experiments.networks.unet_3d import UNet3D, UNet3DConfig


def test_both_are_small():
    for kind in (UNet, UNet3D):
        assert sum(p.numel() for p in kind().parameters()) < 2_500_000


def test_a_frame_is_segmented_alone():
    model, frames = UNet().eval(), torch.rand(1, 3, 1, 32, 48)
    with torch.inference_mode():
        alone = torch.cat([model(frame[:, None]) for frame in frames.unbind(1)], 1)
        assert (model(frames) - alone).abs().max() <= 1e-5


def test_labels_and_widths_can_be_chosen():
    config = UNetConfig(widths=(2, 3, 4, 5, 6), num_labels=1)
    assert UNet(config)(torch.rand(1, 2, 1, 32, 16)).shape == (1, 2, 1, 32, 16)


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

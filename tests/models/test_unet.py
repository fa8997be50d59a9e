import torch

from echoseg.models import UNet
from echoseg.models.unet import UNetConfig


def test_it_is_small():
    assert sum(p.numel() for p in UNet().parameters()) < 2_500_000


def test_a_frame_is_segmented_alone():
    model, frames = UNet().eval(), torch.rand(1, 3, 1, 32, 48)
    with torch.inference_mode():
        alone = torch.cat([model(frame[:, None]) for frame in frames.unbind(1)], 1)
        assert (model(frames) - alone).abs().max() <= 1e-5


def test_labels_and_widths_can_be_chosen():
    config = UNetConfig(widths=(2, 3, 4, 5, 6), num_labels=1)
    assert UNet(config)(torch.rand(1, 2, 1, 32, 16)).shape == (1, 2, 1, 32, 16)

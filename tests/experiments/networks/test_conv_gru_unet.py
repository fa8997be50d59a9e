import torch

from echoseg.models import MemoryUNet
from experiments.networks.conv_gru_unet import ConvGRUUNet


def test_it_is_about_as_large_as_the_memory_unet():
    sizes = [sum(p.numel() for p in kind().parameters()) for kind in (ConvGRUUNet, MemoryUNet)]
    assert abs(sizes[0] / sizes[1] - 1) < 0.05


def test_only_its_recurrence_joins_frames():
    """With the candidate blind to the past and the gate open, a clip is its frames alone."""
    model = ConvGRUUNet().eval()
    width = model.config.widths[-1]
    torch.nn.init.zeros_(model.recurrence.gates.weight)
    torch.nn.init.constant_(model.recurrence.gates.bias, 50)
    torch.nn.init.zeros_(model.recurrence.candidate.weight[:, width:])
    frames = torch.rand(1, 4, 1, 32, 48)
    with torch.inference_mode():
        alone = torch.cat([model(frame[:, None]) for frame in frames.unbind(1)], 1)
        assert (model(frames) - alone).abs().max() <= 1e-5

"""Every network learns one short clip by heart: a disk that beats, in noise."""

import pytest
import torch

from echoseg import models
from echoseg.losses import cross_entropy_dice_loss
from experiments.networks import NAMES, NETWORKS

MODELS = models.MODELS | NETWORKS

NUM_FRAMES, SIDE = 4, 64
SMALLER = {
    NAMES["deeplab_v3"]: {"width": 16},
    NAMES["unet_3d"]: {"num_frames": NUM_FRAMES},
    NAMES["mssnet_released"]: {
        "num_frames": NUM_FRAMES,
        "image_size": SIDE,
        "attention": "fused",
    },
}


def clip():
    generator = torch.Generator().manual_seed(0)
    places = torch.arange(SIDE, dtype=torch.float32)
    away = ((places[:, None] - 30) / 1.3) ** 2 + (places - 34) ** 2
    masks = torch.stack([(away < radius**2).long() for radius in (18, 15, 12, 15)])
    noise = torch.rand(NUM_FRAMES, SIDE, SIDE, generator=generator)
    return (0.6 * (1 - masks) * noise + 0.2 * noise)[None, :, None], masks


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(MODELS))
def test_it_learns_one_clip_by_heart(name):
    torch.manual_seed(0)
    kind = MODELS[name]
    model = kind(kind.config_class(**SMALLER.get(name, {}))).train()
    frames, masks = clip()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(60):
        loss = cross_entropy_dice_loss(model(frames.expand(2, -1, -1, -1, -1))[0], masks)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 3.0)
        optimizer.step()
    found = model(frames.expand(2, -1, -1, -1, -1))[0].argmax(1) == 1
    assert 2 * (found & (masks == 1)).sum() / (found.sum() + masks.sum()) > 0.95

"""The cheap path: motion from pictures, logits that follow it, and what a scheduler observes."""

import pytest
import torch
from torch.nn import functional

from echoseg.errors import ModelError
from echoseg.models.memory_unet import MemoryUNet
from experiments.keyframes.warp import NUM_MAPS, WarpedNetwork, match, warp
from experiments.networks.unet_3d import UNet3D


def texture(seed=0, size=96):
    torch.manual_seed(seed)
    noise = functional.avg_pool2d(torch.rand(1, 1, size + 4, size + 4), 5, 1)
    return (noise - noise.mean()) / noise.std() * 0.1 + 0.5


@pytest.mark.parametrize(("down", "right"), [(0, 0), (4, 0), (0, -4), (8, 4), (-3, 6)])
def test_a_shift_of_the_picture_is_recovered(down, right):
    key = texture()
    frame = key.roll((down, right), (2, 3))
    shift = match(frame, key).shift_px[0, :, 3:-3, 3:-3].mean((1, 2))
    assert shift.tolist() == pytest.approx([-down, -right], abs=0.8)


def test_looking_up_follows_the_shift_exactly():
    maps = torch.rand(1, 2, 24, 32)
    shift = torch.tensor([-3.0, 2.0])[None, :, None, None].expand(1, 2, 3, 4)
    moved = warp(maps, shift)
    assert torch.allclose(moved[..., 3:, :-2], maps[..., :-3, 2:], atol=1e-5)
    assert torch.allclose(warp(maps, torch.zeros(1, 2, 3, 4)), maps, atol=1e-5)


def test_the_residual_is_what_no_shift_explains():
    key = texture()
    frame = key.clone()
    frame[..., 40:60, 40:60] = 0  # a shadow
    residual = match(frame, key).residual[0, 0]
    assert residual[6, 6] > 20 * residual[1, 1] and residual.shape == (12, 12)


def test_cheap_frames_move_the_key_frames_logits_and_leave_the_state():
    model = WarpedNetwork(MemoryUNet().eval())
    key = texture()
    with torch.inference_mode():
        logits, state = model.step(key, model.init_state(1))
        same, after = model.cheap_step(key, state)
        assert after is state and (same - logits).abs().max() < 0.2 * logits.abs().max()
        moved, _ = model.cheap_step(key.roll(8, 2), state)
        error = (moved[..., 24:-16, 16:-16] - logits[..., 16:-24, 16:-16]).abs().mean()
        still = (logits[..., 24:-16, 16:-16] - logits[..., 16:-24, 16:-16]).abs().mean()
        assert error < 0.5 * still


def test_a_scheduler_observes_change_uncertainty_and_residual():
    model = WarpedNetwork(MemoryUNet().eval())
    key = texture()
    frame = key.clone()
    frame[..., :24, :24] += 0.3
    with torch.inference_mode():
        _, state = model.step(key, model.init_state(1))
        sure = state._replace(
            logits=100 * functional.one_hot(torch.zeros(1, 96, 96).long(), 4).movedim(-1, 1).float()
        )
        maps = model.observe(frame, sure)
        assert maps.shape == (NUM_MAPS, 8, 8)
        assert maps[0, 0, 0] == pytest.approx(3, abs=1e-3) and maps[0, 4:, 4:].max() < 1e-5
        assert maps[1].max() < 1e-5 and maps[2, 0, 0] > 10 * maps[2, 5, 5]
        unsure = model.observe(frame, state._replace(logits=torch.zeros(1, 4, 96, 96)))
        assert unsure[1].min() == pytest.approx(1, abs=1e-4)


def test_a_clip_cannot_begin_cheaply_nor_be_of_a_network_that_looks_ahead():
    model = WarpedNetwork(MemoryUNet().eval())
    with pytest.raises(ModelError, match="run the first frame of a clip through step"):
        model.cheap_step(texture(), model.init_state(1))
    with pytest.raises(ModelError, match="key frames need a network that streams"):
        WarpedNetwork(UNet3D())

"""Guidance of the first MSSNet: weights stay weights, follow what moves, and hold through noise."""

import pytest
import torch

from echoseg.nn.guidance_v1 import MAX_TOKENS, SpatiotemporalGuidance


@pytest.fixture
def guidance():
    torch.manual_seed(0)
    return SpatiotemporalGuidance(32, num_heads=4, head_dim=8).eval()


def clip(num_frames=5, height=6, width=7, batch=2):
    torch.manual_seed(1)
    return torch.randn(batch, num_frames, 32, height, width)


def run(guidance, frames):
    """The guided features of clips `B T C H W`, and the last state."""
    state, outputs = guidance.init_state(len(frames)), []
    for frame in frames.unbind(1):
        out, state = guidance.step(frame, state)
        outputs.append(out)
    return torch.stack(outputs, 1), state


@pytest.mark.parametrize(("height", "width"), [(1, 1), (3, 5), (6, 7), (10, 10)])
def test_any_size_and_length(guidance, height, width):
    for num_frames in (1, 2, 9):
        frames = clip(num_frames, height, width)
        out, state = run(guidance, frames)
        assert out.shape == frames.shape
        assert state.weights.shape == (2, 4, height * width, height * width)


def test_weights_stay_probabilities_over_a_long_clip(guidance):
    torch.nn.init.constant_(guidance.trust.bias, 3.0)
    state = guidance.init_state(1)
    with torch.inference_mode():
        for _ in range(200):
            out, state = guidance.step(3 * torch.randn(1, 32, 5, 5), state)
            assert state.weights.min() >= 0
            assert torch.allclose(state.weights.sum(-1), torch.ones(()), atol=1e-4)
    assert out.isfinite().all()


def test_the_state_has_constant_size_at_any_image_size(guidance):
    for side in (8, 40):
        state, sizes = guidance.init_state(1), []
        with torch.inference_mode():
            for _ in range(3):
                _, state = guidance.step(torch.randn(1, 32, side, side), state)
                sizes.append(sum(part.numel() for part in state))
        assert len(set(sizes)) == 1
        assert state.weights.shape[-1] <= MAX_TOKENS


def test_the_first_frame_stands_alone(guidance):
    """No past: the weights are the frame's own, the features its own."""
    alone = SpatiotemporalGuidance(32, num_heads=4, head_dim=8, propagate=False, remember=False)
    alone.load_state_dict(guidance.state_dict(), strict=False)
    frames = clip(1)
    with torch.inference_mode():
        one, _ = run(guidance, frames)
        other, _ = run(alone.eval(), frames)
    assert torch.allclose(one, other, atol=1e-6)


def test_matching_follows_a_shift(guidance):
    """Features moved by one column: tokens are matched to where they were."""
    torch.manual_seed(3)
    before = torch.nn.functional.normalize(torch.randn(1, 6 * 8, 16), dim=-1)
    grid = before.unflatten(1, (6, 8))
    now = torch.roll(grid, 1, 2).flatten(1, 2)
    came_from, gone_to = guidance._match(now, before, 6, 8)
    index = torch.arange(48).unflatten(0, (6, 8))
    expected = torch.roll(index, 1, 1)[:, 1:]  # the first column came in from outside
    found = came_from[0].argmax(-1).unflatten(0, (6, 8))[:, 1:]
    assert (found == expected).float().mean() > 0.95
    assert (
        gone_to[0].argmax(-1).unflatten(0, (6, 8))[:, :-1] == index[:, 1:]
    ).float().mean() > 0.95


def test_weights_move_with_what_they_belong_to(guidance):
    """A past weight from token a to token b is, after a shift, one from a' to b'."""
    torch.nn.init.constant_(guidance.trust.bias, 20.0)  # trust the past wholly
    torch.nn.init.zeros_(guidance.trust.weight)
    torch.manual_seed(4)
    grid = torch.nn.functional.normalize(torch.randn(1, 6, 8, 16), dim=-1)
    before, now = grid.flatten(1, 2), torch.roll(grid, 1, 2).flatten(1, 2)
    a, b = 2 * 8 + 3, 4 * 8 + 5
    weights = torch.full((1, 4, 48, 48), 1e-6)
    weights[..., a, b] = 1
    with torch.no_grad():
        guidance.log_match.fill_(4.0)
    came_from, gone_to = guidance._match(now, before, 6, 8)
    moved = came_from[:, None] @ weights @ gone_to[:, None]
    place = moved[0, 0].flatten().argmax()
    assert (place // 48).item() == a + 1
    assert (place % 48).item() == b + 1


def test_gradients_reach_every_parameter_through_time():
    torch.manual_seed(0)
    guidance = SpatiotemporalGuidance(16, num_heads=2, head_dim=8)
    torch.nn.init.normal_(guidance.trust.weight, std=0.1)
    frames = torch.randn(1, 3, 16, 4, 4, requires_grad=True)
    out, _ = run(guidance, frames)
    out[:, -1].square().sum().backward()
    for name, parameter in guidance.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name
    assert frames.grad[:, 0].abs().max() > 0  # the last frame depends on the first


def test_a_batch_equals_its_clips(guidance):
    frames = clip(6)
    with torch.inference_mode():
        whole, _ = run(guidance, frames)
        alone = [run(guidance, one[None])[0] for one in frames]
    assert torch.allclose(torch.cat(alone), whole, atol=1e-5)


def test_switches_take_parts_away():
    full = SpatiotemporalGuidance(16)
    for off in ({"propagate": False}, {"remember": False}, {"propagate": False, "remember": False}):
        part = SpatiotemporalGuidance(16, **off)
        assert sum(p.numel() for p in part.parameters()) < sum(p.numel() for p in full.parameters())
        assert run(part, torch.randn(1, 2, 16, 4, 4))[0].isfinite().all()

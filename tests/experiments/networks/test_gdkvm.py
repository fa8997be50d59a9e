"""GDKVM: what it carries from frame to frame, and OSA's switch on it."""

import pytest
import torch

from experiments.networks.delta_memory import DeltaMemory
from experiments.networks.gdkvm import GDKVM, GDKVMConfig


def net(**config):
    torch.manual_seed(0)
    small = {"widths": (4, 8, 12, 16), "value_widths": (4, 6, 8, 8), "key_channels": 8}
    return GDKVM(GDKVMConfig(**(small | {"value_channels": 8, "num_heads": 2} | config))).eval()


def states(model, frames):
    state, found = model.init_state(len(frames)), []
    with torch.inference_mode():
        for frame in frames.unbind(1):
            _, state = model.step(frame, state)
            found.append(state.memory)
    return found


def test_it_has_less_than_five_million_parameters():
    assert sum(p.numel() for p in GDKVM().parameters()) < 5_000_000


@pytest.mark.parametrize("orthogonal_steps", [0, 5])
@pytest.mark.parametrize("write", ["block", "tokens", "sum"])
@pytest.mark.parametrize(("num_labels", "fusion"), [(1, True), (3, True), (3, False)])
def test_every_variant_streams_and_trains(write, orthogonal_steps, num_labels, fusion):
    model = net(
        write=write,
        orthogonal_steps=orthogonal_steps,
        num_labels=num_labels,
        key_pixel_fusion=fusion,
    )
    frames = torch.rand(2, 4, 1, 48, 32)
    with torch.inference_mode():
        state, steps = model.init_state(2), []
        for frame in frames.unbind(1):
            logits, state = model.step(frame, state)
            steps.append(logits)
        assert (torch.stack(steps, 1) - model(frames)).abs().max() <= 1e-4
    model.train()(frames).square().mean().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name


def test_the_first_frame_is_a_still_and_what_it_leaves_is_picture_and_mask():
    model, frames = net(), torch.rand(1, 2, 1, 32, 32)
    with torch.inference_mode():
        assert torch.allclose(model(frames)[:, 0], model(frames[:, :1])[:, 0], atol=1e-5)
    with torch.no_grad():  # the same picture under another mask is remembered otherwise
        before = states(model, frames)[0]
        model.head.bias[1] += 5
        assert (states(model, frames)[0] - before).abs().max() > 1e-4


def test_the_decay_lies_between_nothing_and_all():
    memory = DeltaMemory(6, num_heads=4, key_channels=3, value_channels=2)
    state, features = torch.rand(1, 4, 2, 3), torch.randn(1, 6, 4, 4)
    torch.nn.init.constant_(memory.beta.weight, 0)
    torch.nn.init.constant_(memory.beta.bias, -50)  # nothing is written
    keys = memory.keys(features)
    with torch.no_grad():
        after = memory.write(keys, torch.rand(1, 8, 4, 4), features, state)
    share = after / state
    assert (share > 0).all() and (share < 1).all()
    assert torch.allclose(share, share[..., :1, :1].expand_as(share), atol=1e-5)


def test_what_is_added_up_is_never_forgotten_and_the_delta_rule_converges():
    torch.manual_seed(0)
    norms = {}
    for write in ("sum", "block"):
        memory = DeltaMemory(6, num_heads=1, key_channels=3, value_channels=2, write=write)
        features, values, state = torch.randn(1, 6, 4, 4), torch.rand(1, 2, 4, 4), None
        keys, found = memory.keys(features), []
        with torch.no_grad():
            for _ in range(200):
                state = memory.init_state(1) if state is None else state
                state = memory.write(keys, values, features, state)
                found.append(float(state.norm()))
        norms[write] = found
    assert norms["sum"][-1] == pytest.approx(200 * norms["sum"][0], rel=1e-4)
    assert norms["block"][-1] == pytest.approx(norms["block"][-2], rel=1e-3)


def test_keys_are_unit_vectors_in_each_head():
    keys = DeltaMemory(6, num_heads=4, key_channels=3, value_channels=2).keys(
        torch.randn(2, 6, 5, 4)
    )
    assert torch.allclose(keys.unflatten(1, (4, 3)).norm(dim=2), torch.ones(2, 4, 5, 4))


def test_osa_keeps_the_state_orthogonal_and_gdkvm_does_not():
    frames = torch.rand(1, 12, 1, 64, 64)
    spread = {}
    for steps in (0, 10):
        values = torch.linalg.svdvals(states(net(orthogonal_steps=steps), frames)[-1])
        spread[steps] = (values.amin(-1) / values.amax(-1)).mean()
    assert spread[10] > 5 * spread[0]

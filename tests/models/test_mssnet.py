"""MSSNet: its sizes, its ablations, and what it does after a frame that shows nothing."""

import pytest
import torch

from echoseg.models.mssnet import MSSNet, MSSNetConfig


def net(**config):
    torch.manual_seed(0)
    return MSSNet(MSSNetConfig(**config)).eval()


def test_sizes_grow_and_the_default_is_small():
    counts = [
        sum(p.numel() for p in net(size=size).parameters()) for size in ("tiny", "small", "base")
    ]
    assert counts == sorted(counts)
    assert sum(p.numel() for p in MSSNet().parameters()) == counts[1] <= 3_000_000


@pytest.mark.parametrize("num_labels", [1, 2, 7])
@pytest.mark.parametrize("shape", [(1, 3, 1, 48, 112), (2, 11, 1, 64, 32)])
def test_any_labels_frames_and_sides(num_labels, shape):
    logits = net(size="tiny", num_labels=num_labels)(torch.rand(shape))
    assert logits.shape == (*shape[:2], num_labels, *shape[3:])


@pytest.mark.parametrize("memory", ["none", "gate", "features", "guidance"])
def test_every_memory_trains_all_its_parameters(memory):
    model = net(size="tiny", memory=memory).train()
    model(torch.rand(2, 3, 1, 64, 64)).square().mean().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize("mixing", ["ssd", "mamba1", "conv", "attention"])
def test_every_mixing_streams(mixing):
    model, frames = net(size="tiny", mixing=mixing), torch.rand(1, 4, 1, 64, 64)
    with torch.inference_mode():
        state, steps = model.init_state(1), []
        for frame in frames.unbind(1):
            logits, state = model.step(frame, state)
            steps.append(logits)
        assert (torch.stack(steps, 1) - model(frames)).abs().max() <= 1e-4


def test_detail_begins_at_nothing_streams_and_then_moves_borders():
    model, plain, frames = net(detail=4), net(), torch.rand(2, 3, 1, 48, 64)
    with torch.inference_mode():
        assert torch.equal(model(frames), plain(frames))
        torch.nn.init.normal_(model.detail.out.weight)
        state, steps = model.init_state(2), []
        for frame in frames.unbind(1):
            logits, state = model.step(frame, state)
            steps.append(logits)
        whole = model(frames)
        assert (torch.stack(steps, 1) - whole).abs().max() <= 1e-4
        assert not torch.allclose(whole, plain(frames), atol=1e-2)
    model.train()(frames).square().mean().backward()
    for name, parameter in model.detail.named_parameters():
        assert parameter.grad.abs().max() > 0, name


def test_without_memory_frames_do_not_know_of_each_other():
    model, frames = net(size="tiny", memory="none"), torch.rand(1, 4, 1, 64, 64)
    with torch.inference_mode():
        alone = torch.cat([model(frames[:, t : t + 1]) for t in range(4)], 1)
        assert (model(frames) - alone).abs().max() <= 1e-4


def test_bidirectional_is_the_same_forwards_and_backwards():
    model, frames = net(size="tiny"), torch.rand(1, 5, 1, 64, 64)
    with torch.inference_mode():
        forth = model(frames, bidirectional=True)
        back = model(frames.flip(1), bidirectional=True).flip(1)
        assert (forth - back).abs().max() <= 1e-4
        assert (forth - model(frames)).abs().max() > 1e-3


def test_bidirectional_of_one_frame_is_the_still():
    model, frame = net(size="tiny"), torch.rand(1, 1, 1, 64, 64)
    with torch.inference_mode():
        assert (model(frame, bidirectional=True) - model(frame)).abs().max() <= 1e-5

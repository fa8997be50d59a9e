"""The scan across frames against a plain recurrence, and the network around it."""

import pytest
import torch
from torch.nn import functional

from experiments.networks.cross_frame_scan import CrossFrameScan
from experiments.networks.hss_net import HSSNet


def scan_of(skip, dtype=torch.float64):
    torch.manual_seed(0)
    return CrossFrameScan(32, skip, state_size=3).to(dtype).eval()


def plain(module, maps):
    """The recurrence token by token: one grid, direction and head after another."""
    batch, time, _, rows, columns = maps.shape
    z, mixed, dt = module.project(maps.movedim(2, -1)).split(module.widths, -1)
    mixed = module.conv(mixed.flatten(0, 1).movedim(-1, 1)).movedim(1, -1)
    mixed = functional.silu(mixed).unflatten(0, (batch, time))
    x, b, c = mixed.split(module.scan_widths, -1)
    b, c = (part.unflatten(-1, (2, -1)) for part in (b, c))
    step, log_decay = module.scan.steps(dt)
    y, skip = torch.zeros_like(x), module.skip_px
    for grid in range(skip * skip):
        places = [
            (i, j)
            for i in range(grid // skip, rows, skip)
            for j in range(grid % skip, columns, skip)
        ]
        for way, order in enumerate((places, places[::-1])):
            state = torch.zeros(batch, 3, 32, dtype=maps.dtype)
            for t in range(time):
                for i, j in order:
                    at = (slice(None), t, i, j)
                    decay = log_decay[at][:, way].exp()[:, None, None]
                    written = step[at][:, way, None] * x[at]
                    state = decay * state + b[at][:, way, :, None] * written[:, None]
                    out = (c[at][:, way, :, None] * state).sum(1)
                    y[at] = y[at] + out + module.scan.skip[way] * x[at]
    return module.out(module.norm(y, z)).movedim(-1, 2)


@pytest.mark.parametrize(("skip", "size"), [(1, (2, 3)), (2, (4, 4)), (2, (3, 5)), (3, (4, 2))])
def test_the_scan_equals_the_plain_recurrence_with_gradients(skip, size):
    module = scan_of(skip)
    maps = torch.randn(2, 3, 32, *size, dtype=torch.float64, requires_grad=True)
    y, _ = module(maps, module.init_state(2))
    reference = plain(module, maps)
    torch.testing.assert_close(y, reference, atol=1e-10, rtol=1e-8)
    weights = torch.randn_like(y)
    grads = [torch.autograd.grad((each * weights).sum(), maps)[0] for each in (y, reference)]
    torch.testing.assert_close(*grads, atol=1e-10, rtol=1e-8)


def test_frames_one_by_one_give_the_same_and_the_future_does_not_matter():
    module, maps = scan_of(2), torch.randn(1, 5, 32, 5, 6, dtype=torch.float64)
    whole, last = module(maps, module.init_state(1))
    state, outputs = module.init_state(1), []
    for frame in maps.split(1, 1):
        y, state = module(frame, state)
        outputs.append(y)
    torch.testing.assert_close(torch.cat(outputs, 1), whole)
    torch.testing.assert_close(state, last)
    early, _ = module(maps[:, :2], module.init_state(1))
    torch.testing.assert_close(early, whole[:, :2])


def test_a_grid_remembers_its_own_positions_of_earlier_frames():
    module = scan_of(2)
    module.conv.weight.data[:, :, [0, 0, 0, 1, 1, 2, 2, 2], [0, 1, 2, 0, 2, 0, 1, 2]] = 0  # 1x1
    maps = torch.zeros(1, 2, 32, 4, 4, dtype=torch.float64)
    maps[:, 1] = 1
    changed = maps.clone()
    changed[0, 0, :, 0, 2] = 5.0  # of the grid of even rows and columns
    one, other = (module(each, module.init_state(1))[0] for each in (maps, changed))
    differs = (one[0, 1] - other[0, 1]).abs().amax(0) > 1e-9
    expected = torch.zeros(4, 4, dtype=torch.bool)
    expected[::2, ::2] = True
    assert torch.equal(differs, expected)


def test_the_network_streams_at_odd_sizes_and_keeps_a_small_state():
    torch.manual_seed(0)
    model = HSSNet(widths=(8, 8, 32, 32)).eval()
    frames, state = torch.rand(2, 3, 1, 50, 70), model.init_state(2)
    outputs = []
    for frame in frames.unbind(1):
        logits, state = model.step(frame, state)
        outputs.append(logits)
    torch.testing.assert_close(torch.stack(outputs, 1), model(frames), atol=1e-4, rtol=1e-4)
    assert state.coarse.shape == model.init_state(2).coarse.shape
    model.train()(frames).square().mean().backward()
    assert all(p.grad is not None for p in model.parameters())

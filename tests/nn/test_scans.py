import math

import pytest
import torch
from pydantic import ValidationError
from torch import nn
from torch.export import Dim
from torch.nn import functional

from benchmarks.plain_scans import selective_scan_recurrent, ssd_recurrent
from echoseg.nn.scans import SCANS, ScanConfig

CONFIGS = {
    kind: ScanConfig(num_channels=8, head_channels=4, state_size=5, kind=kind)
    for kind in ("mamba1", "mamba2")
}


def make_tokens(config, length=70, num_directions=2):
    return (
        torch.randn(2, length, num_directions * config.num_channels),
        torch.randn(2, length, num_directions, SCANS[config.kind].dt_size(config)),
        torch.randn(2, length, num_directions, config.state_size),
        torch.randn(2, length, num_directions, config.state_size),
    )


def test_mamba2_is_its_equation_over_the_plain_form():
    scan = SCANS["mamba2"](CONFIGS["mamba2"], num_directions=2)
    x, dt, b, c = make_tokens(CONFIGS["mamba2"])
    steps = functional.softplus(dt.flatten(2) + scan.dt_bias)
    heads = x.view(2, 70, 4, 4)
    y, _ = ssd_recurrent(steps[..., None] * heads, -scan.log_a.exp() * steps, b, c)
    expected = (y + scan.skip[:, None] * heads).flatten(2)
    assert torch.allclose(scan(x, dt, b, c), expected, atol=1e-4)


def test_mamba1_is_its_equation_over_the_plain_form():
    scan = SCANS["mamba1"](CONFIGS["mamba1"], num_directions=2)
    x, dt, b, c = make_tokens(CONFIGS["mamba1"])
    spread = torch.cat([dt[:, :, g] @ scan.dt_spread[g] for g in range(2)], -1)
    steps = functional.softplus(spread + scan.dt_bias)
    y, _ = selective_scan_recurrent(x, steps, -scan.log_a.exp(), b, c)
    assert torch.allclose(scan(x, dt, b, c), y + scan.skip * x, atol=1e-4)


@pytest.mark.parametrize("kind", SCANS)
def test_directions_are_scans_side_by_side(kind):
    config = CONFIGS[kind]
    both = SCANS[kind](config, num_directions=2)
    tokens = make_tokens(config)
    y = both(*tokens)
    for way in range(2):
        alone = SCANS[kind](config)
        alone.load_state_dict({k: v.chunk(2)[way] for k, v in both.state_dict().items()})
        expected = alone(*(each.chunk(2, 2)[way] for each in tokens))
        assert torch.allclose(y.chunk(2, 2)[way], expected, atol=1e-5)


@pytest.mark.parametrize("kind", SCANS)
def test_the_first_steps_are_in_the_range_of_mamba(kind):
    scan = SCANS[kind](ScanConfig(num_channels=512, head_channels=4, kind=kind))
    dt = functional.softplus(scan.dt_bias)
    assert dt.min() >= 1e-3 * (1 - 1e-3)
    assert dt.max() <= 0.1 * (1 + 1e-3)
    # half of them below the middle of the logarithms
    assert (dt < math.sqrt(1e-3 * 0.1)).float().mean() == pytest.approx(0.5, abs=0.15)
    assert scan.log_a.exp().min() >= 1 - 1e-5
    assert scan.log_a.exp().max() <= 16 * (1 + 1e-5)


class OneGroup(nn.Module):
    """A scan of x alone, with dt, b and c cut from it."""

    def __init__(self):
        super().__init__()
        self.scan = SCANS["mamba2"](ScanConfig(num_channels=8, head_channels=4, state_size=5))

    def forward(self, x):
        dt, b, c = (x[:, :, None, :size] for size in (2, 5, 5))
        return self.scan(x, dt, b, c)


def test_mamba2_exports_with_a_dynamic_length_above_one_chunk():
    scan = OneGroup().eval()
    exported = torch.export.export(
        scan,
        (torch.randn(1, 200, 8),),
        dynamic_shapes={"x": {1: Dim("L", min=65, max=100_000)}},
        prefer_deferred_runtime_asserts_over_guards=True,
    ).module()
    for length in (65, 128, 1000):
        x = torch.randn(1, length, 8)
        assert torch.allclose(exported(x), scan(x), atol=1e-5)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"head_channels": 5}, "num_channels must be a multiple of head_channels"),
        ({"kind": "mamba3"}, "mamba2"),
        ({"width": 3}, "width"),
    ],
)
def test_a_shape_that_cannot_be_is_refused(wrong, message):
    with pytest.raises(ValidationError, match=message):
        ScanConfig(**{"num_channels": 8, "head_channels": 4, **wrong})

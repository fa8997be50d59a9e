import pytest
import torch
from torch import nn
from torch.export import Dim
from torch.nn import functional

from echoseg.nn.mixer import GatedNorm, SSDMixer
from echoseg.nn.scans import SCANS, ScanConfig


def make_mixer(kind="mamba2", **changes):
    torch.manual_seed(0)
    settings = {"num_channels": 8, "head_channels": 4, "state_size": 6, "kind": kind, **changes}
    return SSDMixer(ScanConfig(**settings))


def by_steps(mixer, x):
    state, outputs = mixer.init_state(x.shape[0]), []
    for token in x.unbind(1):
        y, state = mixer.step(token, state)
        outputs.append(y)
    return torch.stack(outputs, 1), state


def test_the_gated_norm_is_its_equation():
    norm, y, z = GatedNorm(5), torch.randn(2, 3, 5), torch.randn(2, 3, 5)
    nn.init.uniform_(norm.weight)
    gated = y * z * torch.sigmoid(z)
    expected = norm.weight * gated / (gated.square().mean(-1, keepdim=True) + 1e-5).sqrt()
    assert torch.allclose(norm(y, z), expected, atol=1e-6)


@pytest.mark.parametrize("conv_size", [1, 2, 4])
@pytest.mark.parametrize("num_groups", [1, 2])
@pytest.mark.parametrize("kind", SCANS)
def test_steps_equal_the_whole_in_values_and_gradients(kind, num_groups, conv_size):
    mixer = make_mixer(kind, num_groups=num_groups, conv_size=conv_size).double()
    x = torch.randn(2, 70, 8, dtype=torch.float64)
    gradients = []
    for y, state in (mixer(x), by_steps(mixer, x)):
        gradients.append([y, *state, *torch.autograd.grad(y.square().sum(), [*mixer.parameters()])])
    for whole, stepped in zip(*gradients, strict=True):
        assert torch.allclose(whole, stepped, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("cut", [1, 2, 33])
@pytest.mark.parametrize("kind", SCANS)
def test_a_sequence_in_two_parts_equals_the_whole(kind, cut):
    mixer = make_mixer(kind, conv_size=4).double()
    x = torch.randn(1, 50, 8, dtype=torch.float64)
    first, state = mixer(x[:, :cut])
    second, _ = mixer(x[:, cut:], state)
    assert torch.allclose(torch.cat([first, second], 1), mixer(x)[0], atol=1e-10)


@pytest.mark.parametrize("kind", SCANS)
def test_the_future_does_not_change_the_past(kind):
    mixer, x = make_mixer(kind), torch.randn(1, 40, 8)
    changed = torch.cat([x[:, :25], torch.randn(1, 15, 8)], 1)
    before, after = mixer(x)[0], mixer(changed)[0]
    assert torch.allclose(before[:, :25], after[:, :25], atol=1e-5)
    assert not torch.allclose(before[:, 25:], after[:, 25:], atol=1e-5)


def test_the_parts_are_those_of_the_block():
    mixer, x = make_mixer(conv_size=3), torch.randn(1, 20, 8)
    z, mixed, dt = mixer.project(x).split([16, 16 + 6 + 6, 4], -1)
    padded = functional.pad(mixed.mT, (2, 0))
    conv = functional.conv1d(padded, mixer.conv.weight, mixer.conv.bias, groups=28)
    tokens, b, c = functional.silu(conv.mT).split([16, 6, 6], -1)
    y, _ = mixer.scan(tokens, dt[:, :, None], b[:, :, None], c[:, :, None])
    assert torch.allclose(mixer(x)[0], mixer.out(mixer.norm(y, z)), atol=1e-5)


@pytest.mark.parametrize("kind", SCANS)
def test_every_parameter_learns(kind):
    mixer = make_mixer(kind)
    mixer(torch.randn(2, 30, 8))[0].square().sum().backward()
    for name, parameter in mixer.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("kind", SCANS)
def test_autocast_stays_near_float32(kind):
    mixer, x = make_mixer(kind), torch.randn(2, 90, 8)
    with torch.autocast("cpu", torch.bfloat16):
        y, state = mixer(x)
        y.float().sum().backward()
        stepped, _ = mixer.step(x[:, 0], mixer.init_state(2))
    expected, _ = mixer(x)
    assert (y.dtype, stepped.dtype, state.scan.dtype) == (
        torch.bfloat16,
        torch.bfloat16,
        torch.float32,
    )
    assert (y - expected).abs().max() < 0.05 * expected.abs().max()
    assert torch.isfinite(mixer.scan.log_a.grad).all()


@pytest.mark.parametrize("kind", SCANS)
def test_weights_in_bfloat16_go(kind):
    y, _ = make_mixer(kind).bfloat16()(torch.randn(1, 20, 8, dtype=torch.bfloat16))
    assert y.dtype == torch.bfloat16
    assert y.isfinite().all()


@pytest.mark.parametrize("kind", SCANS)
def test_it_is_exported(kind):
    mixer, x = make_mixer(kind).eval(), torch.randn(1, 70, 8)
    y, state = torch.export.export(mixer, (x,)).module()(x)
    expected, last = mixer(x)
    for found, wanted in zip((y, *state), (expected, *last), strict=True):
        assert torch.allclose(found, wanted, atol=1e-6)


def test_it_is_exported_for_any_length_above_a_chunk():
    mixer = make_mixer().eval()
    exported = torch.export.export(
        mixer,
        (torch.randn(1, 200, 8),),
        dynamic_shapes={"x": {1: Dim("L", min=65, max=100_000)}},
        prefer_deferred_runtime_asserts_over_guards=True,
    ).module()
    for length in (65, 128, 1000):
        x = torch.randn(1, length, 8)
        assert torch.allclose(exported(x)[0], mixer(x)[0], atol=1e-6)


def test_it_compiles_to_one_graph():
    mixer, x = make_mixer(), torch.randn(1, 70, 8)
    compiled = torch.compile(mixer, fullgraph=True, backend="aot_eager")
    assert torch.allclose(compiled(x)[0], mixer(x)[0], atol=1e-6)

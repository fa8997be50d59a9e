"""Fused networks give what the networks give, and leave them as they are."""

import copy

import pytest
import torch
from torch import nn

from echoseg.inference.backends.torch import TorchSession
from echoseg.models import build_model
from echoseg.nn.blocks import ResidualBlock, UpBlock
from echoseg.nn.fused import FusedConv, FusedLinear, fuse, has_bf16, has_onednn

pytestmark = pytest.mark.skipif(not has_onednn(), reason="torch was built without oneDNN")


def trained(module):
    """A module whose norms have seen data: no statistic or factor is 0 or 1."""
    torch.manual_seed(0)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            for tensor in (part.weight, part.running_var):
                nn.init.uniform_(tensor, 0.5, 2.0)
            for tensor in (part.bias, part.running_mean):
                nn.init.normal_(tensor)
    return module.eval()


@pytest.mark.parametrize("architecture", ["mssnet", "memory_unet", "unet"])
@pytest.mark.parametrize("size", [(32, 32), (48, 80)])
def test_a_fused_network_gives_the_same_logits_and_state(architecture, size):
    network = trained(build_model(architecture, {}))
    before = copy.deepcopy(network.state_dict())
    fused = fuse(network)
    assert fused is not network
    states = [network.init_state(1)] * 2
    with torch.inference_mode():
        for frame in torch.rand(3, 1, 1, *size):
            pairs = [net.step(frame, s) for net, s in zip((network, fused), states, strict=True)]
            states = [state for _, state in pairs]
            for plain, fast in zip(*([y, *state] for y, state in pairs), strict=True):
                assert (plain.float() - fast.float()).abs().max() <= 1e-5 * max(
                    1, plain.float().abs().max()
                )
    assert all(torch.equal(before[name], x) for name, x in network.state_dict().items())


def test_the_detail_at_full_size_is_fused_too():
    network = trained(build_model("mssnet", {"size": "tiny", "detail": 8}))
    nn.init.normal_(network.detail.out.weight)
    frames = torch.rand(1, 2, 1, 32, 32)
    with torch.inference_mode():
        assert torch.allclose(fuse(network)(frames), network(frames), atol=1e-5, rtol=1e-5)
    assert not [m for m in fuse(network).modules() if isinstance(m, nn.BatchNorm2d | nn.ReLU)]


@pytest.mark.parametrize("block", [ResidualBlock(5, 5), ResidualBlock(5, 7, stride=2)])
def test_a_block_of_any_stride_and_of_a_batch_is_fused(block):
    network = nn.Sequential(trained(block))
    with torch.inference_mode():
        for shape in ((1, 5, 9, 7), (3, 5, 8, 8)):
            x = torch.randn(shape)
            assert torch.allclose(fuse(network)(x), network(x), atol=1e-5)


def test_the_decoder_s_block_takes_skips_of_odd_sizes():
    block = trained(UpBlock(6, 4, 8))
    fused = fuse(nn.ModuleList([block]))[0]
    x, skip = torch.randn(1, 6, 4, 3), torch.randn(1, 4, 7, 5)
    with torch.inference_mode():
        assert torch.allclose(fused(x, skip), block(x, skip), atol=1e-5)


def test_large_linear_layers_take_gelu_in_and_small_ones_stay():
    layers = nn.Sequential(nn.Linear(128, 256), nn.GELU(), nn.Linear(256, 128), nn.Linear(128, 3))
    fused, x = fuse(nn.ModuleList([layers.eval()]).eval())[0], torch.randn(2, 5, 128)
    assert [type(layer) for layer in fused] == [FusedLinear, FusedLinear, nn.Linear]
    with torch.inference_mode():
        assert torch.allclose(fused(x), layers(x), atol=1e-5)


def test_a_depthwise_convolution_without_bias_is_one_too():
    conv = nn.Conv2d(6, 6, 3, padding=1, groups=6, bias=False)
    x = torch.randn(2, 6, 5, 5)
    with torch.inference_mode():
        assert torch.allclose(FusedConv(conv)(x), conv(x), atol=1e-6)
        assert torch.allclose(FusedConv(conv, relu=True)(x, x), (conv(x) + x).relu(), atol=1e-6)


def test_what_cannot_be_fused_is_returned_as_it_is(monkeypatch):
    network = build_model("mssnet", {"size": "tiny"})
    assert fuse(network) is network  # in training mode
    assert fuse(network.eval().double()) is network
    assert fuse(nn.ReLU().eval()) is not None
    monkeypatch.setattr("echoseg.nn.fused.has_onednn", lambda: False)
    assert fuse(network.float()) is network


def test_layers_of_another_package_and_other_paddings_stay():
    class Doubled(nn.Conv2d):
        def forward(self, x):
            return 2 * super().forward(x)

    foreign = nn.Sequential(Doubled(1, 2, 3), nn.ReLU()).eval()
    assert fuse(foreign) is foreign
    x = torch.randn(1, 2, 6, 6)
    for padding in ({"padding": 1, "padding_mode": "reflect"}, {"padding": "same"}):
        network = nn.Sequential(nn.Conv2d(2, 3, 3, **padding), nn.ReLU()).eval()
        with torch.inference_mode():
            assert torch.equal(fuse(network)(x), network(x))
    for odd in ({"affine": False}, {"track_running_stats": False}):
        network = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3, **odd), nn.ReLU()).eval()
        with torch.inference_mode():
            assert torch.allclose(fuse(network)(x), network(x), atol=1e-6)


def test_the_backend_torch_runs_fused_and_keeps_the_network():
    network = trained(build_model("mssnet", {"size": "tiny"}))
    session = TorchSession(network, 32)
    assert session.network is network
    frame = torch.rand(1, 1, 32, 32)
    with torch.inference_mode():
        expected, _ = network.step(frame, network.init_state(1))
    logits, _ = session.step(frame.numpy(), session.first_state())
    assert torch.allclose(torch.from_numpy(logits), expected, atol=1e-5)


@pytest.mark.skipif(not has_bf16(), reason="the processor does not compute in bfloat16")
def test_in_reduced_precision_the_encoder_is_in_bfloat16_and_the_decoder_is_not():
    network = trained(build_model("mssnet", {"size": "tiny"}))
    fused, frame = fuse(network, bf16=True), torch.rand(1, 1, 32, 32)
    assert fused.encoder3[0].first.weight.dtype == torch.bfloat16
    assert fused.decoder0.mix.first.weight.dtype == fused.head.weight.dtype == torch.float32
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        logits, _ = fused.step(frame, network.init_state(1))
    with torch.inference_mode():
        expected, _ = network.step(frame, network.init_state(1))
    assert logits.dtype == torch.float32
    assert 0 < (logits - expected).abs().max() < 0.1 * expected.abs().max()

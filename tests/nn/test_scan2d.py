"""Turning the map while exchanging the ways changes nothing but the turn."""

import pytest
import torch
from torch import nn

from benchmarks.plain_scans import selective_scan_recurrent, ssd_recurrent
from echoseg.nn.scan2d import GatedNorm, ScanSSD2d, cross_merge, cross_scan
from echoseg.nn.scans import SCANS, ScanConfig

SIZES = [(1, 1), (1, 7), (7, 1), (5, 9), (8, 8), (9, 15)]
# new way w is old way TURNS[turn][w]
TURNS = {
    "half turn": (lambda maps: maps.flip(-2, -1), (1, 0, 3, 2)),
    "transposed": (lambda maps: maps.mT, (2, 3, 0, 1)),
    "other diagonal": (lambda maps: maps.mT.flip(-2, -1), (3, 2, 1, 0)),
}


def make_scan(kind="mamba2"):
    torch.manual_seed(0)
    settings = {"num_channels": 8, "head_channels": 4, "state_size": 6, "kind": kind}
    return ScanSSD2d(ScanConfig(**settings)).double()


def exchanged(scan, turn, ways):
    """A twin whose ways are exchanged and whose convolution is turned."""
    twin = ScanSSD2d(scan.config).double()

    def per_way(tensor):
        return torch.cat([tensor.chunk(4)[way] for way in ways])

    def per_part(tensor, widths, shared):
        parts = tensor.split(widths)
        return torch.cat([*parts[:shared], *map(per_way, parts[shared:])])

    inner, written, _ = scan.scan_widths
    new = dict(scan.state_dict())
    widths = [inner, inner, written, written, scan.widths[-1]]
    new["project.weight"] = per_part(new["project.weight"], widths, 2)
    for name in ("conv.weight", "conv.bias"):
        new[name] = per_part(new[name], scan.scan_widths, 1)
    new["conv.weight"] = turn(new["conv.weight"])
    for name in new:
        if name.startswith("scan."):
            new[name] = per_way(new[name])
    twin.load_state_dict(new)
    return twin


def test_the_gated_norm_is_its_equation():
    norm, y, z = GatedNorm(5), torch.randn(2, 3, 5), torch.randn(2, 3, 5)
    nn.init.uniform_(norm.weight)
    gated = y * z * torch.sigmoid(z)
    expected = norm.weight * gated / (gated.square().mean(-1, keepdim=True) + 1e-5).sqrt()
    assert torch.allclose(norm(y, z), expected, atol=1e-6)


def test_cross_scan_by_hand():
    maps = torch.tensor([[1.0, 2, 3], [4, 5, 6]])[None, :, :, None, None].expand(1, 2, 3, 4, 1)
    ways = cross_scan(maps)[0, :, :, 0].T.tolist()
    assert ways == [[1, 2, 3, 4, 5, 6], [6, 5, 4, 3, 2, 1], [1, 4, 2, 5, 3, 6], [6, 3, 5, 2, 4, 1]]


@pytest.mark.parametrize("size", SIZES)
def test_cross_merge_inverts_cross_scan(size):
    maps = torch.randn(2, *size, 4, 3)
    assert torch.allclose(cross_merge(cross_scan(maps), size), maps.sum(3), atol=1e-6)


@pytest.mark.parametrize("turn", TURNS)
@pytest.mark.parametrize("kind", SCANS)
def test_turning_the_map_and_exchanging_the_ways_turns_the_output(kind, turn):
    scan = make_scan(kind)
    turned, ways = TURNS[turn]
    twin = exchanged(scan, turned, ways)
    features = torch.randn(2, 8, 7, 11, dtype=torch.float64)
    assert torch.allclose(twin(turned(features)), turned(scan(features)), atol=1e-10)
    assert not torch.allclose(scan(turned(features)), turned(scan(features)), atol=1e-3)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", SCANS)
def test_it_equals_the_plain_forms_at_any_size(kind, size, monkeypatch):
    scan = make_scan(kind)
    features = torch.randn(2, 8, *size, dtype=torch.float64)
    results = []
    for two_way in (True, False, False):
        monkeypatch.setattr("echoseg.nn.scan2d.TWO_WAY", two_way)
        y = scan(features)
        results.append([y, *torch.autograd.grad(y.square().sum(), [*scan.parameters()])])
        if two_way:
            continue
        monkeypatch.setattr(
            "echoseg.nn.scans.ssd_chunked", lambda *tokens, chunk: ssd_recurrent(*tokens)
        )
        monkeypatch.setattr("echoseg.nn.scans.selective_scan_chunked", selective_scan_recurrent)
    for fast, chunked, plain in zip(*results, strict=True):
        assert torch.allclose(chunked, plain, atol=1e-10, rtol=1e-10)
        assert torch.allclose(fast, plain, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("log_decay", [0.0, -1e-4, -3.0, -200.0])
def test_slow_and_fast_decays_are_the_same_as_a_matrix(log_decay, monkeypatch):
    scan = make_scan().float()
    with torch.no_grad():
        scan.scan.log_a.fill_(torch.tensor(-log_decay).log())
    features = torch.randn(1, 8, 10, 10)
    matrix = scan(features)
    monkeypatch.setattr("echoseg.nn.scan2d.TWO_WAY", False)
    assert matrix.isfinite().all()
    assert torch.allclose(matrix, scan(features), atol=1e-5)


@pytest.mark.parametrize("kind", SCANS)
def test_every_pixel_depends_on_every_other(kind):
    scan = make_scan(kind)
    features = torch.randn(1, 8, 4, 5, dtype=torch.float64, requires_grad=True)
    for row, column in ((0, 0), (3, 4), (1, 2)):
        (gradient,) = torch.autograd.grad(scan(features)[0, :, row, column].sum(), features)
        assert (gradient.abs().sum(1) > 0).all()


@pytest.mark.parametrize("kind", SCANS)
def test_every_parameter_learns(kind):
    scan = make_scan(kind)
    scan(torch.randn(1, 8, 5, 6, dtype=torch.float64)).square().sum().backward()
    for name, parameter in scan.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("kind", SCANS)
def test_it_goes_under_autocast_compiled_and_exported(kind):
    scan, features = make_scan(kind).float().eval(), torch.randn(1, 8, 9, 13)
    expected = scan(features)
    assert torch.allclose(torch.export.export(scan, (features,)).module()(features), expected)
    compiled = torch.compile(scan, fullgraph=True, backend="aot_eager")
    assert torch.allclose(compiled(features), expected, atol=1e-6)
    with torch.autocast("cpu", torch.bfloat16):
        y = scan(features)
    assert y.dtype == torch.bfloat16
    assert (y - expected).abs().max() < 0.05 * expected.abs().max()

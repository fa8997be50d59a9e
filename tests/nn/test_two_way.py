"""Scans in two ways at once, in chunks, against the plain recurrence run forwards and backwards."""

import pytest
import torch

from benchmarks.plain_scans import ssd_recurrent
from echoseg.nn.two_way import CHUNK, MAX_EXPONENT, MAX_WHOLE, ssd_two_way

LENGTHS = [1, 2, MAX_WHOLE, MAX_WHOLE + 1, 2 * CHUNK + 3, 5 * CHUNK]


def tokens(length, dtype=torch.float64, decay=3.0):
    torch.manual_seed(length)
    x = torch.randn(2, length, 3, 5, dtype=dtype)
    dt = torch.rand(2, length, 2, 3, dtype=dtype)
    b, c = torch.randn(2, 2, length, 2, 4, dtype=dtype)
    return [each.requires_grad_() for each in (x, dt, -decay * torch.rand_like(dt), b, c)]


def plain(x, dt, log_decay, b, c):
    """Each way by the recurrence, the second on reversed tokens."""
    sums = 0
    for way in (0, 1):
        parts = (dt[:, :, way, :, None] * x, log_decay[:, :, way], b[:, :, way, None])
        parts = [each.flip(1) if way else each for each in (*parts, c[:, :, way, None])]
        y = ssd_recurrent(*parts)[0]
        sums = sums + (y.flip(1) if way else y)
    return sums


@pytest.mark.parametrize("length", LENGTHS)
def test_it_is_the_recurrence_both_ways_in_values_and_gradients(length):
    parts = tokens(length)
    results = []
    for scan in (ssd_two_way, plain):
        y = scan(*parts)
        results.append([y, *torch.autograd.grad(y.sin().sum(), parts)])
    for fast, expected in zip(*results, strict=True):
        assert torch.allclose(fast, expected, atol=1e-10)


@pytest.mark.parametrize(("decay", "tolerance"), [(0, 1e-6), (1e-4, 1e-6), (1, 1e-5), (500, 1e-4)])
def test_no_decay_overflows_in_single_precision(decay, tolerance):
    parts = [each.detach() for each in tokens(3 * CHUNK, torch.float32, decay)]
    y = ssd_two_way(*parts)
    expected = plain(*(each.double() for each in parts))
    assert (y - expected).abs().max() < tolerance * expected.abs().max()


def test_a_weight_of_zero_writes_nothing_and_has_finite_gradients():
    parts = tokens(MAX_WHOLE)
    with torch.no_grad():
        parts[1][:] = 0
    y = ssd_two_way(*parts)
    assert y.abs().max() < 1e-20
    assert all(g.isfinite().all() for g in torch.autograd.grad(y.sum(), parts))


def test_exponentials_of_clamped_exponents_are_normal_numbers():
    edge = torch.tensor([-MAX_EXPONENT, MAX_EXPONENT]).exp()
    assert edge[0] > torch.finfo(torch.float32).tiny
    assert edge.isfinite().all()

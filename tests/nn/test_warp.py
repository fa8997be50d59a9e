"""Warping against a plain loop and torch's own sampling; the memory that moves."""

import pytest
import torch
from torch.nn import functional

from echoseg.nn.warp import WarpedMemory, corners, warp


def looped(x, displacement):
    """Bilinear value at each place, cell by cell."""
    batch, height, width, _ = x.shape
    rows = []
    for b in range(batch):
        for i in range(height):
            for j in range(width):
                column = (j + displacement[b, i, j, 0]).clamp(0, width - 1)
                row = (i + displacement[b, i, j, 1]).clamp(0, height - 1)
                value = 0
                for y in range(height):
                    for z in range(width):
                        hat = (1 - (row - y).abs()).clamp(min=0) * (1 - (column - z).abs()).clamp(
                            min=0
                        )
                        value = value + hat * x[b, y, z]
                rows.append(value)
    return torch.stack(rows).view_as(x)


@pytest.mark.parametrize("size", [(1, 1), (1, 4), (3, 5)])
def test_it_is_the_loop_in_values_and_gradients(size):
    torch.manual_seed(0)
    x = torch.randn(2, *size, 3, requires_grad=True)
    displacement = (2 * torch.randn(2, *size, 2)).requires_grad_()
    given, expected = warp(x, corners(displacement)), looped(x, displacement)
    assert torch.allclose(given, expected, atol=1e-6)
    probe = torch.randn_like(given)
    for one, other in zip(
        torch.autograd.grad(given, (x, displacement), probe),
        torch.autograd.grad(expected, (x, displacement), probe),
        strict=True,
    ):
        assert torch.allclose(one, other, atol=1e-5)


def test_it_is_what_torch_samples():
    torch.manual_seed(1)
    x, displacement = torch.randn(2, 6, 9, 4), 3 * torch.randn(2, 6, 9, 2)
    rows, columns = torch.meshgrid(torch.arange(6.0), torch.arange(9.0), indexing="ij")
    places = displacement + torch.stack([columns, rows], -1)
    grid = (2 * places + 1) / torch.tensor([9.0, 6.0]) - 1
    sampled = functional.grid_sample(
        x.movedim(-1, 1), grid, padding_mode="border", align_corners=False
    )
    assert torch.allclose(warp(x, corners(displacement)), sampled.movedim(1, -1), atol=1e-5)


def test_no_displacement_leaves_every_bit():
    x = torch.randn(2, 5, 4, 3)
    assert torch.equal(warp(x, corners(torch.zeros(2, 5, 4, 2))), x)


def memory_with(hint):
    """Hints of a displacement by one column to the right, and of that gate."""
    hints = torch.zeros(1, 4, 6, 3)
    hints[..., 0], hints[..., 2] = 1.0, hint
    return hints


def test_the_memory_shows_the_frame_or_the_moved_past_as_its_gate_says():
    memory, first = WarpedMemory(5), torch.ones(1, 1, 1, 1, dtype=torch.bool)
    never = ~first
    frame, past = torch.randn(2, 1, 4, 6, 5)
    with torch.no_grad():
        shown, gate, logits = memory.step(frame, past, memory_with(30.0), never)
        assert torch.allclose(shown[:, :, :-1], past[:, :, 1:], atol=1e-6)
        assert gate.min() > 0.999 and logits.min() == 30
        shown, gate, _ = memory.step(frame, past, memory_with(-30.0), never)
        assert torch.allclose(shown, frame, atol=1e-6) and gate.max() < 1e-3
        shown, gate, _ = memory.step(frame, torch.zeros(1, 1, 1, 5), memory_with(30.0), first)
        assert torch.equal(shown, frame) and gate.max() == 0

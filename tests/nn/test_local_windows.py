"""Window products against a plain loop: values, gradients, any size, and edges."""

import pytest
import torch

from echoseg.nn.local_windows import LocalWindows

SIZES = [(1, 1), (2, 5), (7, 7), (5, 16), (4, 17), (3, 40)]


def inside(index, size):
    return min(max(index, 0), size - 1)


def looped(query, key, value, radius):
    """Scores and weighted sums, cell by cell: (B H W D, B H W C)."""
    batch, height, width, channels = query.shape
    offsets = range(-radius, radius + 1)
    scores, sums = [], []
    for b in range(batch):
        for y in range(height):
            for x in range(width):
                places = [
                    (inside(y + dy, height), inside(x + dx, width))
                    for dy in offsets
                    for dx in offsets
                ]
                products = torch.stack([query[b, y, x] @ key[b, i, j] for i, j in places])
                weights = products.softmax(0)
                sums.append(
                    sum(w * value[b, i, j] for w, (i, j) in zip(weights, places, strict=True))
                )
                scores.append(products)
    shape = (batch, height, width)
    return torch.stack(scores).view(*shape, -1), torch.stack(sums).view(*shape, channels)


def fast(query, key, value, radius):
    windows = LocalWindows(*query.shape[1:3], radius, query.device)
    scores = windows.scores(query, windows.keys(key))
    return scores, windows.read(scores.softmax(-1), windows.keys(value))


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_it_is_the_loop_in_values_and_gradients(height, width):
    torch.manual_seed(0)
    tensors = [
        torch.randn(2, height, width, 3, dtype=torch.float64, requires_grad=True) for _ in range(3)
    ]
    expected, given = looped(*tensors, 1), fast(*tensors, 1)
    for one, other in zip(given, expected, strict=True):
        assert torch.allclose(one, other, atol=1e-12)
    probes = [torch.randn_like(each) for each in expected]
    gradients = [
        torch.autograd.grad(form, tensors, probes, retain_graph=True) for form in (given, expected)
    ]
    for one, other in zip(*gradients, strict=True):
        assert torch.allclose(one, other, atol=1e-10)


def test_offsets_go_row_by_row_and_edges_are_repeated():
    windows = LocalWindows(5, 20, 2, torch.device("cpu"))
    number = torch.arange(100.0).view(1, 5, 20, 1)
    window = windows.scores(torch.ones(1, 5, 20, 1), windows.keys(number))
    assert window[0, 2, 10].tolist() == [20 * y + x for y in range(5) for x in range(8, 13)]
    corner = [20 * y + x for y in (0, 0, 0, 1, 2) for x in (0, 0, 0, 1, 2)]
    assert window[0, 0, 0].tolist() == corner


def test_cost_is_linear_in_the_cells():
    """As many keys per cell on a map of 64 columns as on one of 16."""
    counts = []
    for width in (16, 64):
        windows = LocalWindows(4, width, 3, torch.device("cpu"))
        counts.append(windows.keys(torch.zeros(1, 4, width, 1)).numel() / width)
    assert counts[0] == counts[1]

import math
from functools import partial

import pytest
import torch

from benchmarks.plain_scans import selective_scan_recurrent, ssd_recurrent
from echoseg.nn import selective_scan
from echoseg.nn.selective_scan import selective_scan_chunked
from gradients import TOLERANCE, assert_same

FORMS = [selective_scan_recurrent, selective_scan_chunked]


def make_tokens(length, *, dtype=torch.float64, groups=2):
    """x, dt, a, b, c and a state: 4 channels, state size 3."""
    generator = torch.Generator().manual_seed(length)
    normal = partial(torch.randn, dtype=dtype, generator=generator)
    positive = partial(torch.rand, dtype=dtype, generator=generator)
    tensors = (
        normal(2, length, 4),
        positive(2, length, 4),
        -positive(4, 3),
        normal(2, length, groups, 3),
        normal(2, length, groups, 3),
        normal(2, 4, 3),
    )
    return tuple(each.requires_grad_() for each in tensors)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("length", [1, 2, 31, 32, 33, 63, 65, 150])
def test_the_chunks_equal_the_recurrence_in_values_and_gradients(length, dtype):
    assert_same(selective_scan_chunked, selective_scan_recurrent, make_tokens(length, dtype=dtype))


@pytest.mark.parametrize("groups", [1, 4])
def test_any_number_of_groups_goes(groups):
    assert_same(selective_scan_chunked, selective_scan_recurrent, make_tokens(40, groups=groups))


@pytest.mark.parametrize("form", FORMS)
def test_gradients_match_finite_differences(form, monkeypatch):
    monkeypatch.setattr(selective_scan, "CHUNK", 2)
    assert torch.autograd.gradcheck(form, make_tokens(3, groups=1))


@pytest.mark.parametrize("form", FORMS)
def test_one_decay_a_channel_is_the_state_space_duality(form):
    x, dt, a, b, c, state = make_tokens(50)
    a = a[:, :1].expand(-1, 3)
    y, last = form(x, dt, a, b, c, state)
    written, heads_state = (dt * x)[..., None], state[..., None]
    expected, expected_last = ssd_recurrent(written, dt * a[:, 0], b, c, heads_state)
    assert torch.allclose(y, expected[..., 0], atol=1e-12)
    assert torch.allclose(last, expected_last[..., 0], atol=1e-12)


@pytest.mark.parametrize("form", FORMS)
def test_one_token_by_hand(form):
    x, dt = torch.tensor([[[3.0]]]), torch.tensor([[[0.5]]])
    a, state = torch.tensor([[-2.0, 0.0]]), torch.tensor([[[1.0, 1.0]]])
    b, c = torch.tensor([[[[1.0, 2.0]]]]), torch.tensor([[[[1.0, 10.0]]]])
    y, state = form(x, dt, a, b, c, state)
    assert state.flatten().tolist() == pytest.approx([math.exp(-1) + 1.5, 4.0])
    assert y.item() == pytest.approx(math.exp(-1) + 41.5)


@pytest.mark.parametrize("form", FORMS)
def test_under_autocast_it_counts_in_float32(form):
    tensors = make_tokens(40, dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        y, state = form(*tensors)
        half, _ = form(*(each.bfloat16() for each in tensors))
    assert torch.equal(y, form(*tensors)[0])
    assert (y.dtype, state.dtype, half.dtype) == (torch.float32, torch.float32, torch.bfloat16)


def test_it_compiles_to_one_graph():
    compiled = torch.compile(selective_scan_chunked, fullgraph=True, backend="aot_eager")
    assert_same(compiled, selective_scan_chunked, make_tokens(33, dtype=torch.float32))


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (((1, 0, 4), (1, 0, 4), (4, 3), (1, 0, 1, 3), (1, 0, 1, 3)), "L at least 1"),
        (((1, 6, 4), (1, 6, 1), (4, 3), (1, 6, 1, 3), (1, 6, 1, 3)), "dt must be"),
        (((1, 6, 4), (1, 6, 4), (4, 1), (1, 6, 1, 3), (1, 6, 1, 3)), "a `E N`"),
        (((1, 6, 4), (1, 6, 4), (4, 3), (1, 6, 3, 3), (1, 6, 3, 3)), "a divisor of 4 channels"),
    ],
)
def test_shapes_that_do_not_go_together_are_refused(shapes, message):
    with pytest.raises(ValueError, match=message):
        selective_scan_chunked(*(torch.zeros(shape) for shape in shapes))

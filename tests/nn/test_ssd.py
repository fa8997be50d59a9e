import math
from functools import partial

import pytest
import torch

from benchmarks.plain_scans import ssd_recurrent
from echoseg.nn.ssd import ssd_chunked
from gradients import TOLERANCE, assert_same, values_and_gradients

LENGTHS = [1, 2, 3, 63, 64, 65, 128, 200]


def make_tokens(length, *, dtype=torch.float64, heads=4, groups=2, batch=2):
    """x, log_decay, b, c and a state: 3 channels a head, state size 5."""
    generator = torch.Generator().manual_seed(length)
    normal = partial(torch.randn, dtype=dtype, generator=generator)
    tensors = (
        normal(batch, length, heads, 3),
        -2 * torch.rand(batch, length, heads, dtype=dtype, generator=generator),
        normal(batch, length, groups, 5),
        normal(batch, length, groups, 5),
        normal(batch, heads, 5, 3),
    )
    return tuple(each.requires_grad_() for each in tensors)


def test_a_decay_of_one_half_halves_the_past():
    x = torch.tensor([1.0, 10.0, 100.0]).view(1, 3, 1, 1)
    log_decay = torch.full((1, 3, 1), math.log(0.5))
    b, c = torch.ones(1, 3, 1, 1), torch.tensor([1.0, 1.0, 2.0]).view(1, 3, 1, 1)
    for form in (ssd_recurrent, ssd_chunked):
        y, state = form(x, log_decay, b, c)
        assert y.flatten().tolist() == pytest.approx([1, 10.5, 210.5])
        assert state.item() == pytest.approx(105.25)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("length", LENGTHS)
def test_the_chunks_equal_the_recurrence_in_values_and_gradients(length, dtype):
    assert_same(ssd_chunked, ssd_recurrent, make_tokens(length, dtype=dtype))


@pytest.mark.parametrize("chunk", [1, 7, 16, 500])
def test_the_size_of_a_chunk_changes_nothing(chunk):
    assert_same(partial(ssd_chunked, chunk=chunk), ssd_recurrent, make_tokens(65))


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_groups_of_heads_share_what_is_written_and_read(groups):
    tensors = make_tokens(20, groups=groups)
    assert_same(partial(ssd_chunked, chunk=8), ssd_recurrent, tensors)
    x, log_decay, b, c, state = tensors
    spread = (each.repeat_interleave(4 // groups, 2) for each in (b, c))
    y, _ = ssd_chunked(x, log_decay, *spread, state)
    assert torch.allclose(y, ssd_chunked(*tensors)[0], atol=1e-12)


@pytest.mark.parametrize("form", [ssd_recurrent, ssd_chunked])
def test_without_a_state_it_begins_at_zero(form):
    *tokens, state = make_tokens(5)
    for given, left_out in zip(form(*tokens, torch.zeros_like(state)), form(*tokens), strict=True):
        assert torch.equal(given, left_out)


@pytest.mark.parametrize("cut", [1, 30, 64, 99])
def test_a_sequence_in_two_parts_equals_the_whole(cut):
    *tokens, state = make_tokens(100)
    y, last = ssd_chunked(*tokens, state)
    first, between = ssd_chunked(*(each[:, :cut] for each in tokens), state)
    second, end = ssd_chunked(*(each[:, cut:] for each in tokens), between)
    assert torch.allclose(torch.cat([first, second], 1), y, atol=1e-12)
    assert torch.allclose(end, last, atol=1e-12)


@pytest.mark.parametrize("form", [partial(ssd_chunked, chunk=2), ssd_recurrent])
def test_gradients_match_finite_differences(form):
    assert torch.autograd.gradcheck(form, make_tokens(3, heads=2, groups=1, batch=1))


@pytest.mark.parametrize("sudden", [-30.0, -1e3, -1e30, -math.inf])
def test_a_sudden_forgetting_leaves_the_slow_decays_exact(sudden):
    x, log_decay, b, c, state = (each.detach() for each in make_tokens(200, dtype=torch.float32))
    log_decay = log_decay * 1e-3
    log_decay[:, ::37] = sudden
    tensors = tuple(each.requires_grad_() for each in (x, log_decay, b, c, state))
    found = values_and_gradients(ssd_chunked, tensors)
    assert all(each.isfinite().all() for each in found)
    assert_same(ssd_chunked, ssd_recurrent, tensors)


@pytest.mark.parametrize("log_decay", [0.0, -1e-6])
def test_what_hardly_fades_is_summed_up(log_decay):
    x, _, b, c, state = make_tokens(200)
    tensors = (x, torch.full((2, 200, 4), log_decay, dtype=x.dtype).requires_grad_(), b, c, state)
    assert_same(ssd_chunked, ssd_recurrent, tensors)


@pytest.mark.parametrize("form", [ssd_recurrent, ssd_chunked])
def test_under_autocast_it_counts_in_float32(form):
    tensors = make_tokens(70, dtype=torch.float32)
    halves = [each.bfloat16() for each in tensors[:4]]
    with torch.autocast("cpu", torch.bfloat16):
        y, state = form(*tensors)
        y_half, state_half = form(*halves)
    assert torch.equal(y, form(*tensors)[0])
    assert (y.dtype, state.dtype, y_half.dtype) == (torch.float32, torch.float32, torch.bfloat16)
    expected, last = form(*(each.float() for each in halves))
    assert torch.equal(y_half, expected.bfloat16())
    assert torch.equal(state_half, last)


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_it_compiles_to_one_graph(precision):
    tensors = make_tokens(65, dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == torch.bfloat16):
        compiled = torch.compile(ssd_chunked, fullgraph=True, backend="aot_eager")
        assert_same(compiled, ssd_chunked, tensors)


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (((1, 0, 4, 3), (1, 0, 4), (1, 0, 2, 5), (1, 0, 2, 5)), "L at least 1"),
        (((1, 6, 4, 3), (1, 6, 1), (1, 6, 2, 5), (1, 6, 2, 5)), "log_decay must be"),
        (((1, 6, 4, 3), (1, 6, 4), (1, 6, 3, 5), (1, 6, 3, 5)), "a divisor of 4 heads"),
        (((1, 6, 4, 3), (1, 6, 4), (1, 6, 2, 5), (1, 6, 2, 4)), "b and c must both"),
    ],
)
def test_shapes_that_do_not_go_together_are_refused(shapes, message):
    with pytest.raises(ValueError, match=message):
        ssd_chunked(*(torch.zeros(shape) for shape in shapes))

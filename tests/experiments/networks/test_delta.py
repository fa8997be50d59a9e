"""The gated delta rule: its fast forms against its plain ones, and what it remembers."""

import math
from functools import partial

import pytest
import torch
from torch.nn import functional

from experiments.networks.delta import (
    Written,
    add,
    block_step,
    blocks,
    blocks_recurrent,
    delta_chunked,
    delta_recurrent,
    orthogonalise,
    read,
)
from gradients import TOLERANCE, assert_same

LENGTHS = [1, 2, 3, 15, 16, 17, 63, 65]


def make(*shape, dtype=torch.float64, key=5, value=4):
    """Keys, values, log_decay, beta, queries and a state of 3 heads over tokens of that shape."""
    generator = torch.Generator().manual_seed(sum(shape))
    normal = partial(torch.randn, dtype=dtype, generator=generator)
    uniform = partial(torch.rand, dtype=dtype, generator=generator)
    tensors = (
        functional.normalize(normal(2, *shape, 3, key), dim=-1),
        normal(2, *shape, 3, value),
        -2 * uniform(2, shape[0], 3),
        uniform(2, *shape, 3),
        normal(2, *shape, 3, key),
        normal(2, 3, value, key),
    )
    return tuple(each.requires_grad_() for each in tensors)


def flat(form, **options):
    """Return the form as a function of bare tensors, whose gradients can be asked for."""
    return lambda k, v, decay, beta, queries, state: form(
        Written(k, v, decay, beta), queries, state, **options
    )


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("length", LENGTHS)
def test_the_chunks_equal_the_recurrence_in_values_and_gradients(length, dtype):
    tensors = make(length, dtype=dtype)
    assert_same(flat(delta_chunked, chunk=16), flat(delta_recurrent), tensors)


@pytest.mark.parametrize("chunk", [1, 7, 64, 500])
def test_the_size_of_a_chunk_changes_nothing(chunk):
    assert_same(flat(delta_chunked, chunk=chunk), flat(delta_recurrent), make(33))


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (5, 9), (11, 1), (3, 49)])
def test_the_blocks_at_once_equal_the_blocks_one_by_one(shape, dtype):
    assert_same(flat(blocks), flat(blocks_recurrent), make(*shape, dtype=dtype))


def test_a_block_is_the_printed_equation():
    keys, values, log_decay, beta, _, state = (each.detach() for each in make(1, 7))
    k, v, b = keys[0, 0, :, 0], values[0, 0, :, 0], beta[0, 0, :, 0]
    decay, eye = log_decay[0, 0, 0].exp(), torch.eye(5, dtype=k.dtype)
    expected = decay * state[0, 0] @ (eye - k.T @ b.diag() @ k / 7) + v.T @ b.diag() @ k / 7
    found = block_step(Written(keys[:, 0], values[:, 0], log_decay[:, 0], beta[:, 0]), state)
    assert torch.allclose(found[0, 0], expected, atol=1e-12)


def test_a_block_of_one_token_is_a_token():
    keys, values, log_decay, beta, queries, state = make(9)
    as_blocks = tuple(each[:, :, None] for each in (keys, values))
    written = Written(*as_blocks, log_decay, beta[:, :, None])
    y, after = blocks(written, queries[:, :, None], state)
    expected, last = delta_recurrent(Written(keys, values, log_decay, beta), queries, state)
    assert torch.allclose(y[:, :, 0], expected, atol=1e-12)
    assert torch.allclose(after, last, atol=1e-12)


def test_a_long_decay_does_not_overflow():
    keys, values, _, beta, queries, state = make(200, dtype=torch.float32)
    written = Written(keys, values, torch.full((2, 200, 3), -40.0), beta)
    y, after = delta_chunked(written, queries, state, chunk=64)
    assert y.isfinite().all() and after.isfinite().all()


def test_a_key_written_fifty_frames_ago_is_recalled():
    """Other keys at right angles leave it alone; without decay the answer is exact."""
    keys = torch.eye(64, dtype=torch.float64)[:51].view(1, 51, 1, 64)
    values = torch.randn(1, 51, 1, 8, dtype=torch.float64)
    ones, zeros = torch.ones(1, 51, 1).double(), torch.zeros(1, 51, 1).double()
    state = torch.zeros(1, 1, 8, 64, dtype=torch.float64)
    for form in (delta_recurrent, delta_chunked):
        _, after = form(Written(keys, values, zeros, ones), keys, state)
        assert torch.allclose(read(keys[:, :1], after), values[:, :1], atol=1e-12)


def test_crowded_keys_are_recalled_better_than_by_adding_up():
    """51 random keys in 64 dimensions, the first asked for last."""
    generator = torch.Generator().manual_seed(0)
    keys = torch.randn(1, 51, 1, 64, generator=generator).double()
    keys = functional.normalize(keys, dim=-1)
    values = torch.randn(1, 51, 1, 8, generator=generator).double()
    ones, zeros = torch.ones(1, 51, 1).double(), torch.zeros(1, 51, 1).double()
    state = torch.zeros(1, 1, 8, 64, dtype=torch.float64)
    _, after = delta_chunked(Written(keys, values, zeros, ones), keys, state)
    added = 51 * add(keys, values, state)
    wrong = [(read(keys, each) - values).square().mean() for each in (after, added)]
    assert wrong[0] < 0.7 * wrong[1]


def test_a_key_written_again_gives_the_new_value_and_half_a_decay_halves():
    key = torch.tensor([0.6, 0.8]).view(1, 1, 1, 2).expand(1, 2, 1, 2)
    values = torch.tensor([3.0, 5.0]).view(1, 2, 1, 1)
    ones, decay = torch.ones(1, 2, 1), torch.full((1, 2, 1), math.log(0.5))
    state = torch.zeros(1, 1, 1, 2)
    for form in (delta_recurrent, delta_chunked):
        y, _ = form(Written(key, values, decay, ones), key, state)
        assert y.flatten().tolist() == pytest.approx([3, 5])
        once = torch.tensor([1.0, 0.0]).view(1, 2, 1)
        y, _ = form(Written(key, values, decay, once), key, state)
        assert y.flatten().tolist() == pytest.approx([3, 1.5])


@pytest.mark.parametrize("num_tokens", [1, 49, 1024])
def test_a_block_never_blows_up(num_tokens):
    """All keys alike and written whole, a thousand times: the worst for a block without 1 / N."""
    keys = torch.ones(1, num_tokens, 1, 4) / 2
    values, beta = torch.ones(1, num_tokens, 1, 2), torch.ones(1, num_tokens, 1)
    state = torch.randn(1, 1, 2, 4)
    for _ in range(1000):
        state = block_step(Written(keys, values, torch.zeros(1, 1), beta), state)
    assert torch.allclose(read(keys[:, :1], state), values[:, :1], atol=1e-4)


def test_orthogonal_means_singular_values_near_one_and_the_same_directions():
    state = torch.randn(3, 16, 8, dtype=torch.float64)
    found = orthogonalise(state)
    values = torch.linalg.svdvals(found)
    assert values.min() > 0.9 and values.max() <= 1 + 1e-9
    left, _, right = torch.linalg.svd(state, full_matrices=False)
    assert torch.allclose(orthogonalise(state, 30), left @ right, atol=1e-6)
    assert (left.mT @ found @ right.mT).diagonal(dim1=-2, dim2=-1).min() > 0.9


def test_zeros_stay_zeros_and_their_gradient_is_finite():
    state = torch.zeros(1, 4, 4, requires_grad=True)
    found = orthogonalise(state)
    found.sum().backward()
    assert found.abs().max() == 0
    assert state.grad is not None and state.grad.isfinite().all()

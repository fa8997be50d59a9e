"""The gated delta rule: an association of keys with values that corrects itself as it writes.

    S_t = alpha_t S_(t-1) (I - beta_t k_t k_t^T) + beta_t v_t k_t^T,   y_t = S_t q_t

What S answers to k_t is replaced by v_t, wholly at beta_t = 1, and all else is left as it is but
for the decay alpha_t = exp(log_decay_t) in [0, 1]. Keys are unit vectors, so I - beta k k^T has no
eigenvalue under 0 while beta is at most 1.

**A block**, the N tokens of a frame written at once, each weighing 1 / N, with K = [k_1 ... k_N]:

    S_t = alpha_t S_(t-1) (I - K diag(beta) K^T / N) + V diag(beta) K^T / N

Without the 1 / N the eigenvalues of K K^T reach N and the state blows up.

**Chunks** of Q tokens, with s_i = log alpha_1 + ... + log alpha_i and U, W by rows:

    T_ij  = beta_i exp(s_i - s_j) k_i . k_j   for j < i, else 0
    (I + T) U = diag(beta) V,   (I + T) W = diag(beta exp(s)) K
    V'    = U - W S^T                            what is left to write of each value
    y_i   = exp(s_i) S q_i + sum_(j <= i) exp(s_i - s_j) (q_i . k_j) v'_j
    S_out = exp(s_Q) S + sum_j exp(s_Q - s_j) v'_j k_j^T

No exponent is above 0. Letters: `B` batch, `L` tokens, `F` blocks, `N` tokens of a block, `H`
heads, `D` channels of a key, `V` of a value. All forms count in float32 (float64 when given),
under autocast too; y has the type of the values, the state that of counting.

Reference:
    Yang, Kautz and Hatamizadeh, "Gated Delta Networks", ICLR 2025, equation 10 and section 3.3;
    Wang et al., "GDKVM", ICCV 2025, for the block, whose first public code left out the exp of the
    decay.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from echoseg.nn.ssd import at_least_float32, cut, without_autocast


class Written(NamedTuple):
    """What is written: tokens `B L ...`, a block `B N ...`, or the blocks of a clip `B F N ...`."""

    keys: Tensor
    """`... H D`, unit vectors."""
    values: Tensor
    """`... H V`."""
    log_decay: Tensor
    """`B L H`; `B H` of a block, `B F H` of a clip's; at most 0."""
    beta: Tensor
    """`... H` in [0, 1], how much of the old answer is replaced."""


def delta_recurrent(written: Written, queries: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """Take in tokens one after another: the plain form, slow, that the chunks must equal.

    Args:
        written: Tokens.
        queries: `B L H D`.
        state: `B H V D` before the first token.

    Returns:
        y `B L H V` and the state after the last token.
    """
    with without_autocast(queries):
        tensors = map(at_least_float32, (*written, queries))
        state, found = at_least_float32(state), []
        eye = torch.eye(queries.shape[-1], dtype=state.dtype, device=state.device)
        for key, value, decay, share, query in zip(*(x.unbind(1) for x in tensors), strict=True):
            share = share[..., None, None]
            kept = eye - share * key[..., :, None] * key[..., None, :]
            new = share * value[..., :, None] * key[..., None, :]
            state = decay.exp()[..., None, None] * state @ kept + new
            found.append((state @ query[..., None])[..., 0])
        return torch.stack(found, 1).to(written.values.dtype), state


def delta_chunked(
    written: Written, queries: Tensor, state: Tensor, *, chunk: int = 64
) -> tuple[Tensor, Tensor]:
    """Take in tokens by chunks, each one a few products: equal to `delta_recurrent`, and fast.

    Shapes as there.
    """
    length = queries.shape[1]
    chunk = length if length < chunk else chunk
    with without_autocast(queries):
        # B K Q H ... -> B K H Q ...
        parts = [cut(at_least_float32(x), chunk).transpose(2, 3) for x in (*written, queries)]
        state, found = at_least_float32(state), []
        for *each, query in zip(*(part.unbind(1) for part in parts), strict=True):
            y, state = _one_chunk(Written(*each), query, state)
            found.append(y)
        y = torch.stack(found, 1).transpose(2, 3).flatten(1, 2)
        return y[:, :length].to(written.values.dtype), state


def _one_chunk(written: Written, queries: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """The module's equations: `B H Q ...` and the state -> y `B H Q V` and the new state."""
    keys, values, log_decay, beta = written
    sums = log_decay.cumsum(-1)
    between = sums[..., :, None] - sums[..., None, :]
    size = keys.shape[-2]
    later = torch.ones(size, size, dtype=torch.bool, device=keys.device).triu(1)
    # masked before exp: there the exponents are above 0
    between = between.masked_fill(later, -torch.inf).exp()
    mixed = (beta[..., None] * between * (keys @ keys.mT)).tril(-1)
    eye = torch.eye(size, dtype=keys.dtype, device=keys.device)
    known = torch.cat([values, sums.exp()[..., None] * keys], -1)
    solved = torch.linalg.solve_triangular(
        eye + mixed, beta[..., None] * known, upper=False, unitriangular=True
    )
    new, seen = solved.split([values.shape[-1], keys.shape[-1]], -1)
    left = new - seen @ state.mT
    y = sums.exp()[..., None] * (queries @ state.mT) + (queries @ keys.mT * between) @ left
    until_end = (sums[..., -1:] - sums).exp()[..., None]
    state = sums[..., -1].exp()[..., None, None] * state + (left * until_end).mT @ keys
    return y, state


def add(keys: Tensor, values: Tensor, state: Tensor) -> Tensor:
    """Add a block to the state, S + V K^T / N: what the delta rule is measured against.

    Args:
        keys: `B N H D`.
        values: `B N H V`.
        state: `B H V D`.
    """
    with without_autocast(keys):
        keys, values, state = (at_least_float32(x) for x in (keys, values, state))
        return state + torch.einsum("bnhv,bnhd->bhvd", values, keys) / keys.shape[1]


def block_step(written: Written, state: Tensor) -> Tensor:
    """Write one block, by what is wrong in the state's answers; equals the printed equation.

    Args:
        written: A block.
        state: `B H V D`.

    Returns:
        The new state.
    """
    with without_autocast(state):
        keys, values, beta = (
            at_least_float32(x).transpose(1, 2)
            for x in (written.keys, written.values, written.beta)
        )
        kept = at_least_float32(written.log_decay).exp()[..., None, None] * at_least_float32(state)
        wrong = values - keys @ kept.mT  # B H N V
        return kept + (beta[..., None] * wrong).mT @ keys / keys.shape[2]


def blocks_recurrent(written: Written, queries: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """Write blocks one after another and read each: the plain form.

    Args:
        written: The blocks of a clip.
        queries: `B F N H D`.
        state: `B H V D`.

    Returns:
        y `B F N H V`, read after the block is written, and the last state.
    """
    found = []
    for *each, query in zip(*(x.unbind(1) for x in (*written, queries)), strict=True):
        state = block_step(Written(*each), state)
        found.append(read(query, state))
    return torch.stack(found, 1), state


def blocks(written: Written, queries: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """Write and read all blocks of a clip: equal to `blocks_recurrent`, and fast.

    What a block does to any state, alpha (I - K diag(beta) K^T / N) and V diag(beta) K^T / N, is
    counted for all blocks at once; only the small states are passed on one by one.
    """
    with without_autocast(queries):
        keys, values, beta, asked = (
            at_least_float32(x).transpose(2, 3)
            for x in (written.keys, written.values, written.beta, queries)
        )  # B F H N ...
        weighed = beta[..., None] * keys / keys.shape[3]
        eye = torch.eye(keys.shape[-1], dtype=keys.dtype, device=keys.device)
        decay = at_least_float32(written.log_decay).exp()[..., None, None]
        kept = decay * (eye - weighed.mT @ keys)
        state, states = at_least_float32(state), []
        for keep, new in zip(kept.unbind(1), (values.mT @ weighed).unbind(1), strict=True):
            state = state @ keep + new
            states.append(state)
        y = asked @ torch.stack(states, 1).mT
        return y.transpose(2, 3).to(written.values.dtype), state


def read(queries: Tensor, state: Tensor) -> Tensor:
    """Return what a state `B H V D` answers to `B N H D`: `B N H V`, in the queries' type."""
    with without_autocast(queries):
        answers = at_least_float32(queries).transpose(1, 2) @ state.mT
        return answers.transpose(1, 2).to(queries.dtype)


ORTHOGONAL_STEPS = 5


def orthogonalise(state: Tensor, num_steps: int = ORTHOGONAL_STEPS) -> Tensor:
    """Bring the singular values of each matrix near 1, its directions kept: towards S^T S = I.

    A few steps of Newton and Schulz's iteration towards the polar factor:

        X_0 = S / |S|_F,   X <- (15 X - 10 X X^T X + 3 X X^T X X^T X) / 8

    No singular value passes 1 and a small one grows 1.9-fold a step, so what stands far under the
    largest, noise, stays small. Zeros stay zeros.

    Reference:
        Wang, Wu and Qin, "OSA", CVPR 2026 (arXiv 2603.26188): the state projected onto the Stiefel
        manifold at each update; Björck and Bowie, SIAM J Numer Anal 8:358-364, 1971.
    """
    with without_autocast(state):
        x = state / state.norm(dim=(-2, -1), keepdim=True).clamp(min=1e-6)
        for _ in range(num_steps):
            square = x.mT @ x
            x = (15 * x - 10 * x @ square + 3 * x @ square @ square) / 8
        return x

"""The gated delta rule: an associative memory that corrects itself as it writes.

    S_t = alpha_t S_(t-1) (I - beta_t k_t k_t^T) + beta_t v_t k_t^T,   y_t = S_t q_t

The value that S returns for k_t is replaced by v_t, fully at beta_t = 1; everything else only
decays by alpha_t = exp(log_decay_t) in [0, 1]. Keys are unit vectors, so I - beta k k^T has no
negative eigenvalue while beta is at most 1.

**A block**, the N tokens of a frame written at once, each weighted 1 / N, with K = [k_1 ... k_N]:

    S_t = alpha_t S_(t-1) (I - K diag(beta) K^T / N) + V diag(beta) K^T / N

Without the 1 / N the eigenvalues of K K^T reach N and the state diverges.

**Chunks** of Q tokens, with s_i = log alpha_1 + ... + log alpha_i and U, W by rows:

    T_ij  = beta_i exp(s_i - s_j) k_i . k_j   for j < i, else 0
    (I + T) U = diag(beta) V,   (I + T) W = diag(beta exp(s)) K
    V'    = U - W S^T                            residual of each value
    y_i   = exp(s_i) S q_i + sum_(j <= i) exp(s_i - s_j) (q_i . k_j) v'_j
    S_out = exp(s_Q) S + sum_j exp(s_Q - s_j) v'_j k_j^T

No exponent is positive. Letters: `B` batch, `L` tokens, `F` blocks, `N` tokens of a block, `H`
heads, `D` channels of a key, `V` of a value. All forms compute in float32 (float64 when given),
under autocast too; y has the dtype of the values, the state the dtype of the computation.

Reference:
    Yang, Kautz and Hatamizadeh, "Gated Delta Networks", ICLR 2025, equation 10 and section 3.3;
    Wang et al., "GDKVM", ICCV 2025, for the block (its first public code omitted the exp of the
    decay).
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from echoseg.nn.ssd import at_least_float32, cut, without_autocast


class Written(NamedTuple):
    """Tokens to write, `B L ...`; a block, `B N ...`; or the blocks of a clip, `B F N ...`."""

    keys: Float[Tensor, "*N H D"]
    """Unit vectors."""
    values: Float[Tensor, "*N H V"]
    log_decay: Float[Tensor, "*L H"]
    """At most 0: one per token (`B L H`), or one per block (`B H`, of a clip `B F H`)."""
    beta: Float[Tensor, "*N H"]
    """Learning rate in [0, 1]: the fraction of the old value that is replaced."""


def delta_recurrent(
    written: Written, queries: Float[Tensor, "B L H D"], state: Float[Tensor, "B H V D"]
) -> tuple[Float[Tensor, "B L H V"], Float[Tensor, "B H V D"]]:
    """Process tokens one by one: the slow reference that `delta_chunked` must equal.

    Returns:
        y and the state after the last token.
    """
    with without_autocast(queries):
        tensors = map(at_least_float32, (*written, queries))
        state, outputs = at_least_float32(state), []
        eye = torch.eye(queries.shape[-1], dtype=state.dtype, device=state.device)
        for key, value, decay, beta, query in zip(*(x.unbind(1) for x in tensors), strict=True):
            beta = beta[..., None, None]  # (B, H, 1, 1)
            erase = eye - beta * key[..., :, None] * key[..., None, :]  # (B, H, D, D)
            write = beta * value[..., :, None] * key[..., None, :]  # (B, H, V, D)
            state = decay.exp()[..., None, None] * state @ erase + write
            outputs.append((state @ query[..., None])[..., 0])  # (B, H, V)
        return torch.stack(outputs, 1).to(written.values.dtype), state


def delta_chunked(
    written: Written,
    queries: Float[Tensor, "B L H D"],
    state: Float[Tensor, "B H V D"],
    *,
    chunk: int = 64,
) -> tuple[Float[Tensor, "B L H V"], Float[Tensor, "B H V D"]]:
    """Process tokens in chunks of a few matrix products; equals `delta_recurrent`.

    Returns:
        y and the state after the last token.
    """
    length = queries.shape[1]
    chunk = length if length < chunk else chunk
    with without_autocast(queries):
        parts = [
            cut(at_least_float32(x), chunk).transpose(2, 3)  # (B, K, H, Q, ...)
            for x in (*written, queries)
        ]
        state, outputs = at_least_float32(state), []
        for *tokens, query in zip(*(part.unbind(1) for part in parts), strict=True):
            y, state = _one_chunk(Written(*tokens), query, state)
            outputs.append(y)
        y = torch.stack(outputs, 1).transpose(2, 3).flatten(1, 2)  # (B, K * Q, H, V)
        return y[:, :length].to(written.values.dtype), state


def _one_chunk(
    written: Written, queries: Float[Tensor, "B H Q D"], state: Float[Tensor, "B H V D"]
) -> tuple[Float[Tensor, "B H Q V"], Float[Tensor, "B H V D"]]:
    """Evaluate the chunk equations of the module; all of `written` is `B H Q ...`."""
    keys, values, log_decay, beta = written
    sums = log_decay.cumsum(-1)
    between = sums[..., :, None] - sums[..., None, :]  # (B, H, Q, Q)
    size = keys.shape[-2]
    later = torch.ones(size, size, dtype=torch.bool, device=keys.device).triu(1)
    # masked before exp: there the exponents are positive
    between = between.masked_fill(later, -torch.inf).exp()
    mixed = (beta[..., None] * between * (keys @ keys.mT)).tril(-1)
    eye = torch.eye(size, dtype=keys.dtype, device=keys.device)
    known = torch.cat([values, sums.exp()[..., None] * keys], -1)  # (B, H, Q, V + D)
    solved = torch.linalg.solve_triangular(
        eye + mixed, beta[..., None] * known, upper=False, unitriangular=True
    )
    new, erased = solved.split([values.shape[-1], keys.shape[-1]], -1)
    residual = new - erased @ state.mT  # (B, H, Q, V)
    y = sums.exp()[..., None] * (queries @ state.mT) + (queries @ keys.mT * between) @ residual
    until_end = (sums[..., -1:] - sums).exp()[..., None]  # (B, H, Q, 1)
    state = sums[..., -1].exp()[..., None, None] * state + (residual * until_end).mT @ keys
    return y, state


def add(
    keys: Float[Tensor, "B N H D"],
    values: Float[Tensor, "B N H V"],
    state: Float[Tensor, "B H V D"],
) -> Float[Tensor, "B H V D"]:
    """Add a block to the state, S + V K^T / N: the baseline of the delta rule."""
    with without_autocast(keys):
        keys, values, state = (at_least_float32(x) for x in (keys, values, state))
        return state + torch.einsum("bnhv,bnhd->bhvd", values, keys) / keys.shape[1]


def block_step(written: Written, state: Float[Tensor, "B H V D"]) -> Float[Tensor, "B H V D"]:
    """Write one block by the error of the state's answers; equals the block equation.

    Returns:
        The new state.
    """
    with without_autocast(state):
        keys, values, beta = (
            at_least_float32(x).transpose(1, 2)  # (B, H, N, ...)
            for x in (written.keys, written.values, written.beta)
        )
        decay = at_least_float32(written.log_decay).exp()[..., None, None]  # (B, H, 1, 1)
        decayed = decay * at_least_float32(state)
        error = values - keys @ decayed.mT  # (B, H, N, V)
        return decayed + (beta[..., None] * error).mT @ keys / keys.shape[2]


def blocks_recurrent(
    written: Written, queries: Float[Tensor, "B F N H D"], state: Float[Tensor, "B H V D"]
) -> tuple[Float[Tensor, "B F N H V"], Float[Tensor, "B H V D"]]:
    """Write blocks one by one, reading after each: the reference for `blocks`.

    Returns:
        y and the state after the last block.
    """
    outputs = []
    for *tokens, query in zip(*(x.unbind(1) for x in (*written, queries)), strict=True):
        state = block_step(Written(*tokens), state)
        outputs.append(read(query, state))
    return torch.stack(outputs, 1), state


def blocks(
    written: Written, queries: Float[Tensor, "B F N H D"], state: Float[Tensor, "B H V D"]
) -> tuple[Float[Tensor, "B F N H V"], Float[Tensor, "B H V D"]]:
    """Write and read all blocks of a clip; equals `blocks_recurrent`.

    The effect of a block on any state, alpha (I - K diag(beta) K^T / N) and V diag(beta) K^T / N,
    is computed for all blocks at once; only the small states are updated one by one.
    """
    with without_autocast(queries):
        keys, values, beta, queries_32 = (
            at_least_float32(x).transpose(2, 3)  # (B, F, H, N, ...)
            for x in (written.keys, written.values, written.beta, queries)
        )
        weighted = beta[..., None] * keys / keys.shape[3]
        eye = torch.eye(keys.shape[-1], dtype=keys.dtype, device=keys.device)
        decay = at_least_float32(written.log_decay).exp()[..., None, None]
        transitions = decay * (eye - weighted.mT @ keys)  # (B, F, H, D, D)
        additions = values.mT @ weighted  # (B, F, H, V, D)
        state, states = at_least_float32(state), []
        for transition, new in zip(transitions.unbind(1), additions.unbind(1), strict=True):
            state = state @ transition + new
            states.append(state)
        y = queries_32 @ torch.stack(states, 1).mT  # (B, F, H, N, V)
        return y.transpose(2, 3).to(written.values.dtype), state


def read(
    queries: Float[Tensor, "B N H D"], state: Float[Tensor, "B H V D"]
) -> Float[Tensor, "B N H V"]:
    """Query the state; the result has the dtype of the queries."""
    with without_autocast(queries):
        answers = at_least_float32(queries).transpose(1, 2) @ state.mT  # (B, H, N, V)
        return answers.transpose(1, 2).to(queries.dtype)


ORTHOGONAL_STEPS = 5


def orthogonalise(
    state: Float[Tensor, "*B V D"], num_steps: int = ORTHOGONAL_STEPS
) -> Float[Tensor, "*B V D"]:
    """Bring the singular values of each matrix close to 1, towards S^T S = I.

    Newton-Schulz iterations towards the polar factor, which keep the singular vectors:

        X_0 = S / |S|_F,   X <- (15 X - 10 X X^T X + 3 X X^T X X^T X) / 8

    No singular value exceeds 1, and a small one grows 1.9-fold per step, so those far below the
    largest (noise) stay small. Zeros stay zeros.

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

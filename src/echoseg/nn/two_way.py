"""State-space scans of one sequence forwards and backwards at once, in chunks.

With the decays a and weights dt of each way, and x common to both (`nn.ssd`),

    y_i = sum_(j <= i) a_(j+1) ... a_i (C_i . B_j) dt_j x_j  +  sum_(j >= i) the same, backwards

A chunk of Q tokens is one product of a `Q 2Q` matrix per head with its x; the states that the
chunks hand on, in both ways, are one product over all chunks. With s_i the sum of log decays from
the edge at which a way enters the chunk, token i included, the matrix holds

    exp(s_i - (s_j - log dt_j)) (C_i . B_j)

Nothing is reversed or copied per way, and where j is in the past no exponent is over log dt.

Letters: as in `nn.ssd`; `W` the 2 ways, forwards and backwards, with their own b, c and decays, `H`
heads of each.

Reference:
    Dao and Gu, "Transformers are SSMs", ICML 2024, section 6 (the chunks).
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from echoseg.nn.ssd import MIN_LOG_DECAY

CHUNK = 32
"""Maximum number of tokens of a chunk, of sequences over `MAX_WHOLE`; affects speed only."""
MAX_WHOLE = 64
"""Maximum number of tokens of a sequence that is one chunk; affects speed only."""
MIN_DT = 1e-30
"""Smallest weight of a token: its logarithm is finite."""
MAX_EXPONENT = 80.0
"""Exponents are clamped to this and its negative: exp of it is finite in float32, exp of minus it
1e-35, a normal number. Results that are not, and exp(-inf), take a CPU 5 to 30 times as long."""


def ssd_two_way(
    x: Float[Tensor, "B L H P"],
    dt: Float[Tensor, "B L W H"],
    log_decay: Float[Tensor, "B L W H"],
    b: Float[Tensor, "B L W N"],
    c: Float[Tensor, "B L W N"],
) -> Float[Tensor, "B L H P"]:
    """Scan tokens in both ways from empty states, and sum.

    Args:
        x: Tokens.
        dt: Weight with which a token is written, at least 0.
        log_decay: At most 0.
        b: Input projection of each way.
        c: Output projection of each way.
    """
    length = x.shape[1]
    num_chunks = 1 if length <= MAX_WHOLE else -(-length // CHUNK)
    size = -(-length // num_chunks)
    x, dt, log_decay, b, c = (
        _cut(each, (num_chunks, size)) for each in (x, dt, log_decay, b, c)
    )  # (B, K, Q, ...)
    x = x.transpose(2, 3)  # (B, K, H, Q, P)
    b, c = b.transpose(2, 3), c.transpose(2, 3)  # (B, K, W, Q, N)
    log_dt = dt.clamp(min=MIN_DT).log().permute(0, 1, 4, 3, 2)  # (B, K, H, W, Q)
    decay = log_decay.clamp(min=MIN_LOG_DECAY).permute(0, 1, 4, 3, 2)
    sums = decay.cumsum(-1)
    total = sums[..., -1:]  # (B, K, H, W, 1)
    entered = torch.stack([sums[..., 0, :], (total - sums + decay)[..., 1, :]], -2)

    exponents = entered.transpose(3, 4)[..., None] - (entered - log_dt)[..., None, :, :]
    products = (c @ b.mT).transpose(2, 3) * _before(size, x)  # (B, K, Q, W, Q)
    matrix = _exp(exponents) * products[:, :, None]  # (B, K, H, Q, W, Q)
    y = matrix.flatten(-2) @ torch.cat([x, x], -2)  # (B, K, H, Q, P)
    if num_chunks > 1:
        written = _exp(total - entered + log_dt)[..., None, :] * b.mT[:, :, None]
        states = _between(total[..., 0], written.flatten(3, 4) @ x)  # (B, K, H, W * N, P)
        read = _exp(entered)[..., None] * c[:, :, None]  # (B, K, H, W, Q, N)
        y = y + read.transpose(3, 4).flatten(-2) @ states
    return y.transpose(2, 3).flatten(1, 2)[:, :length]


def _cut(x: Float[Tensor, "B L ..."], chunks: tuple[int, int]) -> Float[Tensor, "B K Q ..."]:
    """Cut tokens into chunks; zeros at the end neither decay nor, by their x, write."""
    missing = chunks[0] * chunks[1] - x.shape[1]
    padding = (0, 0) * (x.ndim - 2) + (0, missing)
    return (functional.pad(x, padding) if missing else x).unflatten(1, chunks)


def _before(size: int, like: Tensor) -> Float[Tensor, "Q W Q"]:
    """1 where token j (last) is no later than i (first) in a way, else 0."""
    before = torch.ones(size, size, dtype=like.dtype, device=like.device).tril()
    return torch.stack([before, before.mT], 1)


def _exp(x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    return x.clamp(-MAX_EXPONENT, MAX_EXPONENT).exp()


def _between(
    total: Float[Tensor, "B K H W"], written: Float[Tensor, "B K H WN P"]
) -> Float[Tensor, "B K H WN P"]:
    """States that enter each chunk, from what each writes; `total` is the decay over a chunk.

    The decays are summed over the chunks between two: a difference of two sums from the beginning
    would lose its digits in a long sequence.
    """
    count = total.shape[1]
    index = torch.arange(count, device=total.device)
    into, over, out = index[:, None, None], index[:, None], index  # K K K
    passed = torch.stack(
        [(out < over) & (over < into), (into < over) & (over < out)]
    )  # (W, K into, K over, K out)
    entered = torch.stack([out < into, out > into])[:, :, 0]  # (W, K, K)
    matrix = passed.movedim(2, 1).flatten(2).to(total.dtype)  # (W, K over, K * K)
    decay = total.permute(0, 2, 3, 1)[..., None, :] @ matrix  # (B, H, W, 1, K * K)
    decay = _exp(decay.unflatten(-1, (count, count))[..., 0, :, :]) * entered.to(total.dtype)
    written = written.unflatten(3, (2, -1)).permute(0, 2, 3, 1, 4, 5)  # (B, H, W, K, N, P)
    states = (decay @ written.flatten(4)).unflatten(-1, written.shape[4:])
    return states.permute(0, 3, 1, 2, 4, 5).flatten(3, 4)

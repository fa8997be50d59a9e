"""The selective scan of Mamba-1: one decay per channel and state dimension.

h_t = exp(dt_t a) h_(t-1) + dt_t x_t b_t,   y_t = c_t . h_t,   dt_t >= 0, a <= 0

h is a vector of `N` for each channel. Unlike in `ssd`, the decay differs along `N`, so a chunk
is not a matrix product. All chunks are scanned in parallel, each from an empty state, and the
contribution of the state at the chunk's start is added afterwards:
y_i += c_i . (exp((dt_1 + ... + dt_i) a) h_in). No exponent is positive.

Letters: `B` batch, `L` tokens, `E` channels, `N` state size, `G` groups of e = E/G consecutive
channels that share b and c, `Q` tokens of a chunk, `K` chunks. Computes in float32 (float64 when
given).

Reference:
    Gu and Dao, "Mamba: Linear-Time Sequence Modeling with Selective State Spaces", COLM 2024,
    equations 2 and 4 and algorithm 2; b is discretised by Euler's rule as in the authors' code.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from echoseg.nn.ssd import at_least_float32, check_tokens, cut, without_autocast

# the fastest of 8 to 128 at 1,024 tokens: near the root of the length
CHUNK = 32


def selective_scan_chunked(
    x: Float[Tensor, "B L E"],
    dt: Float[Tensor, "B L E"],
    a: Float[Tensor, "E N"],
    b: Float[Tensor, "B L G N"],
    c: Float[Tensor, "B L G N"],
    state: Float[Tensor, "B E N"] | None = None,
) -> tuple[Float[Tensor, "B L E"], Float[Tensor, "B E N"]]:
    """Evaluate the recurrence in chunks, in `CHUNK + L / CHUNK` small sequential steps.

    Args:
        x: Tokens.
        dt: Step sizes, at least 0.
        a: Decay rates, at most 0.
        b: Input projection.
        c: Output projection.
        state: State before the first token; zeros when not given.

    Returns:
        y and the state after the last token.

    Raises:
        ValueError: No tokens, dt or a that do not match x, or channels that do not divide into
            equal groups.
    """
    check_tokens(x, b, c, letters="B L E", axis="channels")
    if dt.shape != x.shape or a.shape != (x.shape[2], b.shape[-1]):
        raise ValueError(
            f"dt must be `B L E` = {tuple(x.shape)} and a `E N` = {(x.shape[2], b.shape[-1])}, "
            f"got {tuple(dt.shape)} and {tuple(a.shape)}"
        )
    state = x.new_zeros(len(x), *a.shape) if state is None else state
    length, chunk = x.shape[1], min(CHUNK, x.shape[1])
    groups = (b.shape[2], x.shape[2] // b.shape[2])
    with without_autocast(x):
        inputs, dts, bs, cs = (
            cut(at_least_float32(part), chunk)  # (B, K, Q, ...)
            for part in (x, dt, b, c)
        )
        a = at_least_float32(a).unflatten(0, groups)  # (G, e, N)
        state = at_least_float32(state).unflatten(1, groups)  # (B, G, e, N)
        inputs, dts = (inputs * dts).unflatten(-1, groups), dts.unflatten(-1, groups)
        y, ends = _scan_chunks(inputs, dts, a, bs, cs)
        since_start = dts.cumsum(2)  # (B, K, Q, G, e)
        states = _states_between((since_start[:, :, -1, ..., None] * a).exp(), ends, state)
        # the largest tensor here
        entering = (since_start[..., None] * a).exp() * states[:, :-1, None]  # (B, K, Q, G, e, N)
        y = y + torch.einsum("bkqgen,bkqgn->bkqge", entering, cs)
        y = y.flatten(3).flatten(1, 2)[:, :length]  # (B, L, E)
        return y.to(x.dtype), states[:, -1].flatten(1, 2)


def _scan_chunks(
    x: Float[Tensor, "B K Q G e"],
    dt: Float[Tensor, "B K Q G e"],
    a: Float[Tensor, "G e N"],
    b: Float[Tensor, "B K Q G N"],
    c: Float[Tensor, "B K Q G N"],
) -> tuple[Float[Tensor, "B K Q G e"], Float[Tensor, "B K G e N"]]:
    """Scan every chunk from an empty state; returns y and the states at the chunks' ends."""
    outputs: list[Tensor] = []
    state: Tensor | None = None
    for now, dt_now, b_now, c_now in zip(*(t.unbind(2) for t in (x, dt, b, c)), strict=True):
        written = now[..., None] * b_now[..., None, :]  # (B, K, G, e, N)
        state = written if state is None else (dt_now[..., None] * a).exp() * state + written
        outputs.append((state @ c_now[..., None]).squeeze(-1))  # (B, K, G, e)
    assert state is not None
    return torch.stack(outputs, 2), state


def _states_between(
    decay: Float[Tensor, "B K G e N"],
    ends: Float[Tensor, "B K G e N"],
    state: Float[Tensor, "B G e N"],
) -> Float[Tensor, "B K+1 G e N"]:
    """Compute the states before, between and after the chunks."""
    states = [state]
    for decay_now, end in zip(decay.unbind(1), ends.unbind(1), strict=True):
        states.append(decay_now * states[-1] + end)
    return torch.stack(states, 1)

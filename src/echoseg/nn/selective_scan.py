"""The selective scan of Mamba-1: a decay for each channel and state. Plain, chunked, one step.

h_t = exp(dt_t a) h_(t-1) + dt_t x_t b_t,   y_t = c_t . h_t,   dt_t >= 0, a <= 0

h is a vector of `N` for each channel. Unlike in `ssd`, the decay differs along `N`, so a chunk is
no product of matrices. The chunks are walked side by side, each from an empty state, and what
enters a chunk is added after it: y_i gains c_i . (exp((dt_1 + ... + dt_i) a) h_in). No exponent is
above 0.

Letters: `B` batch, `L` tokens, `E` channels, `N` state size, `G` groups of E/G channels in a row
that share b and c, `Q` tokens of a chunk, `K` chunks. Counts in float32 (float64 when given).

Reference:
    Gu and Dao, "Mamba: Linear-Time Sequence Modeling with Selective State Spaces", COLM 2024,
    equations 2 and 4 and algorithm 2; b is discretised by Euler's rule as in the authors' code.
"""

import torch
from torch import Tensor

from echoseg.nn.ssd import at_least_float32, cut, without_autocast

# the fastest of 8 to 128 at 1,024 tokens: near the root of the length
CHUNK = 32


def selective_scan_step(
    x: Tensor, dt: Tensor, a: Tensor, b: Tensor, c: Tensor, state: Tensor
) -> tuple[Tensor, Tensor]:
    """Take in one token.

    Args:
        x: `B E`.
        dt: `B E`, at least 0.
        a: `E N`, at most 0.
        b: `B G N`.
        c: `B G N`.
        state: `B E N`.

    Returns:
        y `B E` and the new state.
    """
    channels = x.shape[-1] // b.shape[-2]
    with without_autocast(x):
        now, dt, a, b, c, state = map(at_least_float32, (x, dt, a, b, c, state))
        b, c = b.repeat_interleave(channels, 1), c.repeat_interleave(channels, 1)
        state = (dt[..., None] * a).exp() * state + (dt * now)[..., None] * b
        return (state * c).sum(-1).to(x.dtype), state


def selective_scan_recurrent(
    x: Tensor, dt: Tensor, a: Tensor, b: Tensor, c: Tensor, state: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Take in the tokens one after another: the plain form that the other must equal.

    Args:
        x: `B L E`.
        dt: `B L E`, at least 0.
        a: `E N`, at most 0.
        b: `B L G N`.
        c: `B L G N`.
        state: `B E N` before the first token; zeros when not given.

    Returns:
        y `B L E` and the state after the last token.
    """
    _check_shapes(x, dt, a, b, c)
    state = _empty_state(x, a) if state is None else state
    outputs = []
    for now, dt_now, b_now, c_now in zip(*(t.unbind(1) for t in (x, dt, b, c)), strict=True):
        y, state = selective_scan_step(now, dt_now, a, b_now, c_now, state)
        outputs.append(y)
    return torch.stack(outputs, 1), state


def selective_scan_chunked(
    x: Tensor, dt: Tensor, a: Tensor, b: Tensor, c: Tensor, state: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Take in the tokens by chunks that are walked side by side: equal to the plain form.

    Shapes as there. It takes `CHUNK + L / CHUNK` small steps in a row instead of L.
    """
    _check_shapes(x, dt, a, b, c)
    state = _empty_state(x, a) if state is None else state
    length, chunk = x.shape[1], min(CHUNK, x.shape[1])
    groups = (b.shape[2], x.shape[2] // b.shape[2])
    with without_autocast(x):
        inputs, dts, bs, cs = (cut(at_least_float32(each), chunk) for each in (x, dt, b, c))
        a = at_least_float32(a).unflatten(0, groups)
        state = at_least_float32(state).unflatten(1, groups)
        inputs, dts = (inputs * dts).unflatten(-1, groups), dts.unflatten(-1, groups)
        y, ends = _alone(inputs, dts, a, bs, cs)
        since_start = dts.cumsum(2)
        states = _states_between((since_start[:, :, -1, ..., None] * a).exp(), ends, state)
        # `B K Q G e N`, the largest tensor here
        fading = (since_start[..., None] * a).exp() * states[:, :-1, None]
        y = y + torch.einsum("bkqgen,bkqgn->bkqge", fading, cs)
        y = y.flatten(3).flatten(1, 2)[:, :length]
        return y.to(x.dtype), states[:, -1].flatten(1, 2)


def _alone(x: Tensor, dt: Tensor, a: Tensor, b: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """Every chunk from an empty state: y `B K Q G e` and the states at the chunks' ends."""
    outputs: list[Tensor] = []
    state: Tensor | None = None
    for now, dt_now, b_now, c_now in zip(*(t.unbind(2) for t in (x, dt, b, c)), strict=True):
        written = now[..., None] * b_now[..., None, :]
        state = written if state is None else (dt_now[..., None] * a).exp() * state + written
        outputs.append((state @ c_now[..., None]).squeeze(-1))
    assert state is not None
    return torch.stack(outputs, 2), state


def _states_between(decay: Tensor, ends: Tensor, state: Tensor) -> Tensor:
    """States before, between and after the chunks, `B K+1 G e N`."""
    states = [state]
    for decay_now, end in zip(decay.unbind(1), ends.unbind(1), strict=True):
        states.append(decay_now * states[-1] + end)
    return torch.stack(states, 1)


def _check_shapes(x: Tensor, dt: Tensor, a: Tensor, b: Tensor, c: Tensor) -> None:
    """Refuse shapes that do not go together.

    Raises:
        ValueError: No tokens, dt or a that do not match x, or channels that do not fall into equal
            groups.
    """
    if x.ndim != 3 or x.shape[1] == 0:
        raise ValueError(f"x must be `B L E` with L at least 1, got {tuple(x.shape)}")
    if dt.shape != x.shape or a.shape != (x.shape[2], b.shape[-1]):
        raise ValueError(
            f"dt must be `B L E` = {tuple(x.shape)} and a `E N` = {(x.shape[2], b.shape[-1])}, "
            f"got {tuple(dt.shape)} and {tuple(a.shape)}"
        )
    if b.shape != c.shape or b.shape[:2] != x.shape[:2] or x.shape[2] % b.shape[2]:
        raise ValueError(
            f"b and c must both be `B L G N` with B, L = {tuple(x.shape[:2])} and G a divisor of "
            f"{x.shape[2]} channels, got {tuple(b.shape)} and {tuple(c.shape)}"
        )


def _empty_state(x: Tensor, a: Tensor) -> Tensor:
    """Return the state before the first token, `B E N` of zeros."""
    dtype = torch.promote_types(x.dtype, torch.float32)
    return x.new_zeros(x.shape[0], *a.shape, dtype=dtype)

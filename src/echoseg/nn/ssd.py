"""The state-space-duality recurrence, plain, chunked, as one matrix, and one step at a time.

H_t = a_t H_(t-1) + B_t x_t^T,   y_t = C_t H_t,   a_t = exp(log_decay_t) in [0, 1]

H is a matrix of `N` by `P` for each head and a_t one number, so a run of Q tokens is a masked
product of matrices. With s_i = log a_1 + ... + log a_i counted from the start of the chunk:

    y_i   = exp(s_i) C_i H_in + sum_(j <= i) exp(s_i - s_j) (C_i . B_j) x_j
    H_out = exp(s_Q) H_in + sum_j exp(s_Q - s_j) B_j x_j^T

No exponent is above 0 and nothing is divided by a product of decays, so nothing overflows. Of few
tokens, one chunk without a state before it, the product of all else with x is a matrix of tokens by
tokens (`ssd_matrix`): more work than the chunks, in far fewer and larger operations.

Letters: `B` batch, `L` tokens, `H` heads, `P` channels of a head, `G` groups of H/G heads in a row
that share b and c, `N` state size, `Q` tokens of a chunk, `K` chunks. All forms count in
float32 (float64 when given) under autocast too; y has the type of x, the state that of counting.

Reference:
    Dao and Gu, "Transformers are SSMs", ICML 2024, equation 2 with scalar A_t (the recurrence, in
    heads as in section 7) and section 6 (the chunks).
"""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor
from torch.nn import functional

# exp of it is 1e-28. Lower, even -inf, would only cost the chunk's other sums their last digits
LEAST_LOG_DECAY = -64.0


def at_least_float32(x: Tensor) -> Tensor:
    """Return half precision as float32, anything else as it is."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def without_autocast(x: Tensor) -> AbstractContextManager[object]:
    """Return a context in which autocast leaves products on x's device alone."""
    kind = x.device.type
    # entered only when needed: an exported graph without autocast stays free of it
    return torch.autocast(kind, enabled=False) if torch.is_autocast_enabled(kind) else nullcontext()


def ssd_step(
    x: Tensor, log_decay: Tensor, b: Tensor, c: Tensor, state: Tensor
) -> tuple[Tensor, Tensor]:
    """Take in one token.

    Args:
        x: `B H P`.
        log_decay: `B H`, at most 0.
        b: `B G N`, what of x is written.
        c: `B G N`, what of the state is read.
        state: `B H N P`.

    Returns:
        y `B H P` and the new state.
    """
    with without_autocast(x):
        heads = x.shape[-2] // b.shape[-2]
        now, decay, b, c, state = map(at_least_float32, (x, log_decay, b, c, state))
        b, c = b.repeat_interleave(heads, 1), c.repeat_interleave(heads, 1)
        written = b[..., :, None] * now[..., None, :]
        state = decay.exp()[..., None, None] * state + written
        return (c[..., None, :] @ state).squeeze(-2).to(x.dtype), state


def ssd_recurrent(
    x: Tensor, log_decay: Tensor, b: Tensor, c: Tensor, state: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Take in the tokens one after another: the plain form, slow, that the other must equal.

    Args:
        x: `B L H P`.
        log_decay: `B L H`, at most 0.
        b: `B L G N`, what of x is written.
        c: `B L G N`, what of the state is read.
        state: `B H N P` before the first token; zeros when not given.

    Returns:
        y `B L H P` and the state after the last token.
    """
    _check_shapes(x, log_decay, b, c)
    state = _empty_state(x, b) if state is None else state
    outputs = []
    # unbind: indexing the whole tensor at each step would make the gradient quadratic in L
    for token in zip(x.unbind(1), log_decay.unbind(1), b.unbind(1), c.unbind(1), strict=True):
        y, state = ssd_step(*token, state)
        outputs.append(y)
    return torch.stack(outputs, 1), state


def ssd_chunked(
    x: Tensor,
    log_decay: Tensor,
    b: Tensor,
    c: Tensor,
    state: Tensor | None = None,
    *,
    chunk: int = 64,
) -> tuple[Tensor, Tensor]:
    """Take in the tokens by chunks, all at once: equal to `ssd_recurrent`, and fast.

    Shapes as there. The work grows with `L * chunk`, and with `(L / chunk)^2` for the states that
    pass between chunks.
    """
    _check_shapes(x, log_decay, b, c)
    state = _empty_state(x, b) if state is None else state
    length = x.shape[1]
    # not min(): export would carry it along as an unknown
    chunk = length if length < chunk else chunk
    with without_autocast(x):
        inputs, decays, bs, cs = (
            cut(at_least_float32(each), chunk) for each in (x, log_decay, b, c)
        )
        y, state = _in_chunks(inputs, decays, bs, cs, at_least_float32(state))
        return y[:, :length].to(x.dtype), state


def ssd_matrix(log_decay: Tensor, b: Tensor, c: Tensor, before: Tensor) -> Tensor:
    """Return what the recurrence multiplies its x by, y_i = sum_j M_ij x_j, from an empty state.

    Tokens may stand in any order: `before` tells theirs, so that several ways through one map need
    not be read apart.

    Args:
        log_decay: `... L H`, at most 0, of heads that share b and c.
        b: `... L N`, what of x is written.
        c: `... L N`, what of the state is read.
        before: `... L L`, 1 where token j is i or comes before it, else 0.

    Returns:
        `... H L L`.
    """
    with without_autocast(log_decay):
        decay, b, c = map(at_least_float32, (log_decay, b, c))
        before = before.to(decay)
        # from the middle of the way on, so that no sum is longer than half of it
        counted = before - before[..., before.shape[-1] // 2, :].unsqueeze(-2)
        sums = (counted @ decay.clamp(min=LEAST_LOG_DECAY)).mT
        # cut off before exp: where j comes after i the exponents are above 0
        between = (sums[..., :, None] - sums[..., None, :]).clamp(max=0).exp()
        return between * ((c @ b.mT) * before)[..., None, :, :]


def cut(tokens: Tensor, chunk: int) -> Tensor:
    """`B L ...` -> `B K Q ...`, filled up with zeros, which write nothing and fade nothing."""
    # also when nothing is missing: an `if` would tie an exported graph to one of the two cases
    length = tokens.shape[1]
    num_chunks = (length + chunk - 1) // chunk
    missing = num_chunks * chunk - length
    tokens = functional.pad(tokens, (0, 0) * (tokens.ndim - 2) + (0, missing))
    return tokens.unflatten(1, (num_chunks, chunk))


def _only_past(log_decay: Tensor) -> Tensor:
    """`... Q Q` from j to i -> its exp where j <= i, 0 where token j comes after token i."""
    size = log_decay.shape[-1]
    later = torch.ones(size, size, dtype=torch.bool, device=log_decay.device).triu(1)
    # masked before exp: there the exponents are above 0
    return log_decay.masked_fill(later, -torch.inf).exp()


def _in_chunks(
    x: Tensor, log_decay: Tensor, b: Tensor, c: Tensor, state: Tensor
) -> tuple[Tensor, Tensor]:
    """The module's two equations: `B K Q ...` -> y `B K*Q H P` and the last state.

    Small letters in the products: i and j are tokens of a chunk, h the heads of a group.
    """
    heads = (b.shape[3], x.shape[3] // b.shape[3])
    x = x.unflatten(3, heads).permute(0, 1, 3, 4, 2, 5)
    log_decay = log_decay.clamp(min=LEAST_LOG_DECAY).unflatten(3, heads).movedim(2, -1)
    b, c = b.movedim(3, 2), c.movedim(3, 2)
    since_start = log_decay.cumsum(-1)
    between = _only_past(since_start[..., :, None] - since_start[..., None, :])
    y = ((c @ b.mT)[:, :, :, None] * between) @ x

    until_end = (since_start[..., -1:] - since_start).exp()
    written = torch.einsum("bkgjn,bkghjp->bkghnp", b, x * until_end[..., None])
    states = _states_between(since_start[..., -1], written, state.unflatten(1, heads))
    read = torch.einsum("bkgin,bkghnp->bkghip", c, states[:, :-1])
    y = y + since_start.exp()[..., None] * read
    return y.permute(0, 1, 4, 2, 3, 5).flatten(3, 4).flatten(1, 2), states[:, -1].flatten(1, 2)


def _states_between(log_decay: Tensor, written: Tensor, state: Tensor) -> Tensor:
    """States before, between and after the chunks, `B K+1 G h N P`.

    The decay from one chunk to another is summed over just those between them, not taken as a
    difference of two sums from the beginning, whose digits a long sequence would use up.

    Args:
        log_decay: `B K G h`, of a whole chunk.
        written: `B K G h N P`, what a chunk alone leaves at its end.
        state: `B G h N P`, before the first chunk.
    """
    steps = functional.pad(log_decay.movedim(1, -1), (1, 0))
    sums = steps[..., None].expand(*steps.shape, steps.shape[-1]).tril(-1).cumsum(-2)
    written = torch.cat([state[:, None], written], 1)
    return torch.einsum("bghzk,bkghnp->bzghnp", _only_past(sums), written)


def _check_shapes(x: Tensor, log_decay: Tensor, b: Tensor, c: Tensor) -> None:
    """Refuse shapes that do not go together.

    Raises:
        ValueError: No tokens, a decay that is not one a head and token, or heads that do not fall
            into equal groups.
    """
    if x.ndim != 4 or x.shape[1] == 0:
        raise ValueError(f"x must be `B L H P` with L at least 1, got {tuple(x.shape)}")
    if log_decay.shape != x.shape[:3]:
        raise ValueError(
            f"log_decay must be `B L H` = {tuple(x.shape[:3])}, got {tuple(log_decay.shape)}"
        )
    if b.shape != c.shape or b.shape[:2] != x.shape[:2] or x.shape[2] % b.shape[2]:
        raise ValueError(
            f"b and c must both be `B L G N` with B, L = {tuple(x.shape[:2])} and G a divisor of "
            f"{x.shape[2]} heads, got {tuple(b.shape)} and {tuple(c.shape)}"
        )


def _empty_state(x: Tensor, b: Tensor) -> Tensor:
    """Return the state before the first token, `B H N P` of zeros."""
    dtype = torch.promote_types(x.dtype, torch.float32)
    return x.new_zeros(x.shape[0], x.shape[2], b.shape[3], x.shape[3], dtype=dtype)

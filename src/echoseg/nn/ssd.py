"""State-space duality (SSD, Mamba-2): the recurrence and its chunked form.

H_t = a_t H_(t-1) + B_t x_t^T,   y_t = C_t H_t,   a_t = exp(log_decay_t) in [0, 1]

H is an `N` by `P` matrix for each head and a_t a scalar, so Q tokens together are a masked product
of matrices. With s_i = log a_1 + ... + log a_i from the start of the chunk:

    y_i   = exp(s_i) C_i H_in + sum_(j <= i) exp(s_i - s_j) (C_i . B_j) x_j
    H_out = exp(s_Q) H_in + sum_j exp(s_Q - s_j) B_j x_j^T

No exponent is positive and nothing is divided by a product of decays, so nothing overflows.

Letters: `B` batch, `L` tokens, `H` heads, `P` channels of a head, `G` groups of H/G consecutive
heads that share b and c, `N` state size, `Q` tokens of a chunk, `K` chunks. All forms compute in
float32 (float64 when given), under autocast too; y has the dtype of x, the state the dtype of the
computation.

Reference:
    Dao and Gu, "Transformers are SSMs", ICML 2024, equation 2 with scalar A_t (the recurrence, in
    heads as in section 7) and section 6 (the chunks).
"""

from contextlib import AbstractContextManager, nullcontext

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

# exp of it is 1e-28. Lower, even -inf, would only cost the chunk's other sums their last digits
MIN_LOG_DECAY = -64.0


def at_least_float32(x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Promote half precision to float32; leave anything else unchanged."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def without_autocast(x: Tensor) -> AbstractContextManager[object]:
    """Disable autocast on the device of x inside a `with` block."""
    kind = x.device.type
    # entered only when needed: an exported graph without autocast stays free of it
    return torch.autocast(kind, enabled=False) if torch.is_autocast_enabled(kind) else nullcontext()


def ssd_chunked(
    x: Float[Tensor, "B L H P"],
    log_decay: Float[Tensor, "B L H"],
    b: Float[Tensor, "B L G N"],
    c: Float[Tensor, "B L G N"],
    state: Float[Tensor, "B H N P"] | None = None,
    *,
    chunk: int = 64,
) -> tuple[Float[Tensor, "B L H P"], Float[Tensor, "B H N P"]]:
    """Evaluate the recurrence in chunks, all at once.

    The work grows with `L * chunk`, and with `(L / chunk)^2` for the states that pass between
    chunks.

    Args:
        x: Tokens.
        log_decay: At most 0.
        b: Input projection: x is written to the state along b.
        c: Output projection: y is read from the state along c.
        state: State before the first token; zeros when not given.
        chunk: Tokens per chunk; affects speed only.

    Returns:
        y and the state after the last token.

    Raises:
        ValueError: No tokens, a decay that is not one per head and token, or heads that do not
            divide into equal groups.
    """
    check_tokens(x, b, c, letters="B L H P", axis="heads")
    if log_decay.shape != x.shape[:3]:
        raise ValueError(
            f"log_decay must be `B L H` = {tuple(x.shape[:3])}, got {tuple(log_decay.shape)}"
        )
    length = x.shape[1]
    if state is None:
        state = x.new_zeros(len(x), x.shape[2], b.shape[3], x.shape[3])
    # not min(): export would keep it as an unknown
    chunk = length if length < chunk else chunk
    with without_autocast(x):
        inputs, decays, bs, cs = (
            cut(at_least_float32(part), chunk)  # (B, K, Q, ...)
            for part in (x, log_decay, b, c)
        )
        y, state = _in_chunks(inputs, decays, bs, cs, at_least_float32(state))
        return y[:, :length].to(x.dtype), state


def check_tokens(x: Tensor, b: Tensor, c: Tensor, *, letters: str, axis: str) -> None:
    """Check the shapes of tokens `letters` and of their projections `B L G N`.

    Raises:
        ValueError: No tokens, or an axis that does not divide into equal groups.
    """
    if x.ndim != len(letters.split()) or x.shape[1] == 0:
        raise ValueError(f"x must be `{letters}` with L at least 1, got {tuple(x.shape)}")
    if b.shape != c.shape or b.shape[:2] != x.shape[:2] or x.shape[2] % b.shape[2]:
        raise ValueError(
            f"b and c must both be `B L G N` with B, L = {tuple(x.shape[:2])} and G a divisor of "
            f"{x.shape[2]} {axis}, got {tuple(b.shape)} and {tuple(c.shape)}"
        )


def cut(tokens: Float[Tensor, "B L *C"], chunk: int) -> Float[Tensor, "B K Q *C"]:
    """Cut tokens into chunks, padded with zeros, which neither write nor decay."""
    # also when nothing is missing: an `if` would tie an exported graph to one of the two cases
    length = tokens.shape[1]
    num_chunks = (length + chunk - 1) // chunk
    missing = num_chunks * chunk - length
    tokens = functional.pad(tokens, (0, 0) * (tokens.ndim - 2) + (0, missing))
    return tokens.unflatten(1, (num_chunks, chunk))


def _only_past(log_decay: Float[Tensor, "*B Q Q"]) -> Float[Tensor, "*B Q Q"]:
    """Exponentiate the decay from j to i where j <= i; 0 where token j comes after token i."""
    size = log_decay.shape[-1]
    later = torch.ones(size, size, dtype=torch.bool, device=log_decay.device).triu(1)
    # masked before exp: there the exponents are positive
    return log_decay.masked_fill(later, -torch.inf).exp()


def _in_chunks(
    x: Float[Tensor, "B K Q H P"],
    log_decay: Float[Tensor, "B K Q H"],
    b: Float[Tensor, "B K Q G N"],
    c: Float[Tensor, "B K Q G N"],
    state: Float[Tensor, "B H N P"],
) -> tuple[Float[Tensor, "B KQ H P"], Float[Tensor, "B H N P"]]:
    """Evaluate the module's two equations; h in the shapes counts the H / G heads of a group."""
    heads = (b.shape[3], x.shape[3] // b.shape[3])
    x = x.unflatten(3, heads).permute(0, 1, 3, 4, 2, 5)  # (B, K, G, h, Q, P)
    log_decay = log_decay.clamp(min=MIN_LOG_DECAY).unflatten(3, heads).movedim(2, -1)
    b, c = b.movedim(3, 2), c.movedim(3, 2)  # (B, K, G, Q, N)
    since_start = log_decay.cumsum(-1)  # (B, K, G, h, Q)
    between = _only_past(since_start[..., :, None] - since_start[..., None, :])
    y = ((c @ b.mT)[:, :, :, None] * between) @ x  # (B, K, G, h, Q, P)

    until_end = (since_start[..., -1:] - since_start).exp()
    written = torch.einsum("bkgjn,bkghjp->bkghnp", b, x * until_end[..., None])
    states = _states_between(since_start[..., -1], written, state.unflatten(1, heads))
    read = torch.einsum("bkgin,bkghnp->bkghip", c, states[:, :-1])
    y = y + since_start.exp()[..., None] * read
    y = y.permute(0, 1, 4, 2, 3, 5).flatten(3, 4).flatten(1, 2)  # (B, K * Q, H, P)
    return y, states[:, -1].flatten(1, 2)


def _states_between(
    log_decay: Float[Tensor, "B K G h"],
    written: Float[Tensor, "B K G h N P"],
    state: Float[Tensor, "B G h N P"],
) -> Float[Tensor, "B K+1 G h N P"]:
    """Compute the states before, between and after the chunks.

    The decay from one chunk to another is summed over the chunks between them. A difference of two
    sums from the beginning would lose its digits in a long sequence.

    Args:
        log_decay: Decay over each chunk.
        written: State at the end of each chunk, from an empty state at its start.
        state: State before the first chunk.
    """
    steps = functional.pad(log_decay.movedim(1, -1), (1, 0))  # (B, G, h, K + 1)
    sums = steps[..., None].expand(*steps.shape, steps.shape[-1]).tril(-1).cumsum(-2)
    written = torch.cat([state[:, None], written], 1)  # (B, K + 1, G, h, N, P)
    return torch.einsum("bghzk,bkghnp->bzghnp", _only_past(sums), written)

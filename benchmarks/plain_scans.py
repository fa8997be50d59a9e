"""The recurrences of `nn.ssd` and `nn.selective_scan`, token by token: slow references.

The chunked forms must equal them; arguments and equations are those of the two modules.
"""

import torch
from torch import Tensor

from echoseg.nn.ssd import at_least_float32, without_autocast


def ssd_recurrent(
    x: Tensor, log_decay: Tensor, b: Tensor, c: Tensor, state: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Y and the state after the last token, as `ssd_chunked`."""
    heads, dtype = x.shape[2] // b.shape[2], x.dtype
    outputs = []
    with without_autocast(x):
        x, log_decay, b, c = map(at_least_float32, (x, log_decay, b, c))
        if state is None:
            state = x.new_zeros(x.shape[0], x.shape[2], b.shape[3], x.shape[3])
        b, c = b.repeat_interleave(heads, 2), c.repeat_interleave(heads, 2)  # (B, L, H, N)
        # unbind: indexing the whole tensor at each step would make the gradient quadratic in L
        tokens = (part.unbind(1) for part in (x, log_decay.exp(), b, c))
        for now, decay, b_now, c_now in zip(*tokens, strict=True):
            written = b_now[..., :, None] * now[..., None, :]  # (B, H, N, P)
            state = decay[..., None, None] * state + written
            outputs.append((c_now[..., None, :] @ state).squeeze(-2))
    return torch.stack(outputs, 1).to(dtype), state


def selective_scan_recurrent(  # the six letters of the equation
    x: Tensor, dt: Tensor, a: Tensor, b: Tensor, c: Tensor, state: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Y and the state after the last token, as `selective_scan_chunked`."""
    channels, dtype = x.shape[2] // b.shape[2], x.dtype
    outputs = []
    with without_autocast(x):
        x, dt, a, b, c = map(at_least_float32, (x, dt, a, b, c))
        state = x.new_zeros(x.shape[0], *a.shape) if state is None else state
        b, c = b.repeat_interleave(channels, 2), c.repeat_interleave(channels, 2)  # (B, L, E, N)
        tokens = (part.unbind(1) for part in (x, dt, b, c))
        for now, dt_now, b_now, c_now in zip(*tokens, strict=True):
            written = (dt_now * now)[..., None] * b_now  # (B, E, N)
            state = (dt_now[..., None] * a).exp() * state + written
            outputs.append((state * c_now).sum(-1))
    return torch.stack(outputs, 1).to(dtype), state

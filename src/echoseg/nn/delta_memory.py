"""A memory of feature maps by the gated delta rule: written by keys, read by keys.

    k    = normalise(conv(f)), by head                  a token's key; it is its query too
    alpha = exp(-exp(A) softplus(w . mean(f) + b))       a frame's decay, by head
    beta  = sigmoid(u . f)                               a token's, by head
    S    <- gated delta rule (nn.delta) of k, v, alpha, beta;   read: S k

The exp outside keeps alpha in (0, 1). A frame decays the state once. Its tokens are written at
once, as a block, or one after another in the order of rows.

By the rule `sum`, which the delta rule is measured against, a frame of N tokens is added to what is
there, S <- S + V K^T / N, and nothing is ever forgotten or corrected.
"""

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from echoseg.nn.delta import Written, add, block_step, delta_chunked, orthogonalise, read
from echoseg.nn.ssd import at_least_float32

Write = Literal["block", "tokens", "sum"]
LEAST_DT, MOST_DT, MOST_A = 1e-3, 0.1, 16.0


class DeltaMemory(nn.Module):
    """The module's equations over maps; the values come from outside.

    Args:
        num_channels: Of the features f.
        num_heads: Associations side by side.
        key_channels: Of a head's key.
        value_channels: Of a head's value.
        write: The whole frame at once or token by token; or added up, without the delta rule.
        orthogonal_steps: Steps towards a state with orthogonal columns after each write; 0 is
            none (`nn.delta.orthogonalise`).
    """

    def __init__(
        self,
        num_channels: int,
        *,
        num_heads: int,
        key_channels: int,
        value_channels: int,
        write: Write = "block",
        orthogonal_steps: int = 0,
    ) -> None:
        super().__init__()
        self.num_heads, self.key_channels = num_heads, key_channels
        self.value_channels = value_channels
        self.write_as, self.orthogonal_steps = write, orthogonal_steps
        width = num_heads * key_channels
        self.key = nn.Sequential(
            nn.Conv2d(num_channels, width, 1), nn.Conv2d(width, width, 3, 1, 1)
        )
        if write == "sum":
            return
        self.decay = nn.Linear(num_channels, num_heads, bias=False)
        self.beta = nn.Conv2d(num_channels, num_heads, 1)
        dt = torch.linspace(math.log(LEAST_DT), math.log(MOST_DT), num_heads).exp()
        self.dt_bias = nn.Parameter(dt + torch.log(-torch.expm1(-dt)))  # softplus gives dt
        self.log_a = nn.Parameter(torch.linspace(1, MOST_A, num_heads).log())

    def init_state(self, batch_size: int) -> Tensor:
        """Return the empty state, `B heads V D`; it answers zero."""
        empty = next(self.parameters()).new_zeros(
            batch_size, self.num_heads, self.value_channels, self.key_channels
        )
        return at_least_float32(empty)

    def keys(self, features: Tensor) -> Tensor:
        """`B C h w` -> `B heads*D h w`, unit vectors in each head."""
        keys = self.key(features).unflatten(1, (self.num_heads, -1))
        return functional.normalize(keys, dim=2).flatten(1, 2)

    def read(self, keys: Tensor, state: Tensor) -> Tensor:
        """Return what the state answers to keys `B heads*D h w`: `B heads*V h w`."""
        answers = read(_tokens(keys, self.num_heads), state)
        return answers.flatten(2).mT.unflatten(2, keys.shape[2:])

    def write(self, keys: Tensor, values: Tensor, features: Tensor, state: Tensor) -> Tensor:
        """Write one frame.

        Args:
            keys: `B heads*D h w`.
            values: `B heads*V h w`.
            features: `B C h w`, which decay and beta are read off.
            state: `B heads V D`.

        Returns:
            The new state.
        """
        tokens = (_tokens(keys, self.num_heads), _tokens(values, self.num_heads))
        if self.write_as == "sum":
            state = add(*tokens, state)
        else:
            state = self._corrected(tokens, features, state)
        if self.orthogonal_steps:
            state = orthogonalise(state, self.orthogonal_steps)
        return state

    def _corrected(self, tokens: tuple[Tensor, Tensor], features: Tensor, state: Tensor) -> Tensor:
        """Write keys and values by the gated delta rule."""
        dt = functional.softplus(at_least_float32(self.decay(features.mean((2, 3))) + self.dt_bias))
        log_decay = -dt * at_least_float32(self.log_a).exp()
        beta = torch.sigmoid(self.beta(features)).flatten(2).mT
        if self.write_as == "block":
            return block_step(Written(*tokens, log_decay, beta), state)
        rest = torch.zeros_like(beta[:, 1:], dtype=log_decay.dtype)
        each = torch.cat([log_decay[:, None], rest], 1)
        return delta_chunked(Written(*tokens, each, beta), tokens[0], state)[1]


def _tokens(maps: Tensor, num_heads: int) -> Tensor:
    """`B heads*D h w` -> `B N heads D`."""
    return maps.flatten(2).mT.unflatten(2, (num_heads, -1))


class KeyPixelFusion(nn.Module):
    """Key features, which tell what is alike over frames, and pixel features of this frame, gated.

        k' = W k + mean over the map,   g = sigmoid(conv(k')),   out = g k' + (1 - g) mlp(p)

    Reference:
        Wang et al., "GDKVM", ICCV 2025, key-pixel feature fusion.
    """

    def __init__(self, key_channels: int, num_channels: int) -> None:
        super().__init__()
        self.key = nn.Conv2d(key_channels, num_channels, 1)
        self.gate = nn.Conv2d(num_channels, num_channels, 1)
        self.pixel = nn.Sequential(
            nn.Conv2d(num_channels, num_channels, 1),
            nn.GELU(),
            nn.Conv2d(num_channels, num_channels, 1),
        )

    def forward(self, keys: Tensor, pixels: Tensor) -> Tensor:
        """`B D h w` and `B C h w` -> `B C h w`."""
        keys = self.key(keys)
        keys = keys + keys.mean((2, 3), keepdim=True)
        gate = torch.sigmoid(self.gate(keys))
        return gate * keys + (1 - gate) * self.pixel(pixels)


class ChannelAttention(nn.Module):
    """x times a weight for each channel, read off its mean over the map.

    Reference:
        Hu, Shen and Sun, "Squeeze-and-Excitation Networks", CVPR 2018.
    """

    def __init__(self, num_channels: int, squeeze: int = 4) -> None:
        super().__init__()
        narrow = max(4, num_channels // squeeze)
        self.weigh = nn.Sequential(
            nn.Linear(num_channels, narrow),
            nn.GELU(),
            nn.Linear(narrow, num_channels),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """`B C h w` -> the same."""
        return x * self.weigh(x.mean((2, 3)))[..., None, None]

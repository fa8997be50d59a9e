"""Key-value memory of feature maps, updated by the gated delta rule.

    k    = normalise(conv(f)), by head                  a token's key and query
    alpha = exp(-exp(A) softplus(w . mean(f) + b))       a frame's decay, by head
    beta  = sigmoid(u . f)                               a token's learning rate, by head
    S    <- gated delta rule (nn.delta) of k, v, alpha, beta;   read: S k

The exp outside keeps alpha in (0, 1). The state decays once per frame. The frame's tokens are
written at once, as a block, or one after another in row order.

The rule `sum` is the baseline: a frame of N tokens is added to the state, S <- S + V K^T / N, and
nothing is forgotten or corrected.
"""

import math
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from echoseg.nn.ssd import at_least_float32
from experiments.networks.delta import Written, add, block_step, delta_chunked, orthogonalise, read

Write = Literal["block", "tokens", "sum"]
MIN_DT, MAX_DT, MAX_A = 1e-3, 0.1, 16.0


class DeltaMemory(nn.Module):
    """The memory over maps; the caller supplies the values.

    Args:
        num_channels: Channels of the features f.
        num_heads: Number of heads.
        key_channels: Channels of a head's key.
        value_channels: Channels of a head's value.
        write: Write the frame as one block, token by token, or as a sum without the delta rule.
        orthogonal_steps: Iterations of `nn.delta.orthogonalise` after each write; 0 disables it.
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
        dt = torch.linspace(math.log(MIN_DT), math.log(MAX_DT), num_heads).exp()
        self.dt_bias = nn.Parameter(dt + torch.log(-torch.expm1(-dt)))  # softplus gives dt
        self.log_a = nn.Parameter(torch.linspace(1, MAX_A, num_heads).log())

    def init_state(self, batch_size: int) -> Float[Tensor, "B heads V D"]:
        """Zeros: the state before the first frame."""
        empty = next(self.parameters()).new_zeros(
            batch_size, self.num_heads, self.value_channels, self.key_channels
        )
        return at_least_float32(empty)

    def keys(self, features: Float[Tensor, "B C h w"]) -> Float[Tensor, "B headsD h w"]:
        """Compute keys of unit length in each head."""
        keys = self.key(features).unflatten(1, (self.num_heads, -1))  # (B, heads, D, h, w)
        return functional.normalize(keys, dim=2).flatten(1, 2)

    def read(
        self, keys: Float[Tensor, "B headsD h w"], state: Float[Tensor, "B heads V D"]
    ) -> Float[Tensor, "B headsV h w"]:
        """Query the state with keys as maps; returns values as maps."""
        answers = read(_tokens(keys, self.num_heads), state)  # (B, N, heads, V)
        return answers.flatten(2).mT.unflatten(2, keys.shape[2:])

    def write(
        self,
        keys: Float[Tensor, "B headsD h w"],
        values: Float[Tensor, "B headsV h w"],
        features: Float[Tensor, "B C h w"],
        state: Float[Tensor, "B heads V D"],
    ) -> Float[Tensor, "B heads V D"]:
        """Write one frame.

        Args:
            keys: Keys as maps, head by head.
            values: Values as maps, head by head.
            features: Features from which decay and beta are computed.
            state: State before the frame.

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
        log_decay = -dt * at_least_float32(self.log_a).exp()  # (B, heads)
        beta = torch.sigmoid(self.beta(features)).flatten(2).mT  # (B, N, heads)
        if self.write_as == "block":
            return block_step(Written(*tokens, log_decay, beta), state)
        # the state decays at the first token of a frame only
        rest = torch.zeros_like(beta[:, 1:], dtype=log_decay.dtype)
        log_decay = torch.cat([log_decay[:, None], rest], 1)  # (B, N, heads)
        return delta_chunked(Written(*tokens, log_decay, beta), tokens[0], state)[1]


def _tokens(maps: Float[Tensor, "B headsD h w"], num_heads: int) -> Float[Tensor, "B N heads D"]:
    return maps.flatten(2).mT.unflatten(2, (num_heads, -1))


class KeyPixelFusion(nn.Module):
    """Gated fusion of key features, stable over frames, with pixel features of this frame.

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

    def forward(
        self, keys: Float[Tensor, "B D h w"], pixels: Float[Tensor, "B C h w"]
    ) -> Float[Tensor, "B C h w"]:
        """Fuse keys and pixel features."""
        keys = self.key(keys)
        keys = keys + keys.mean((2, 3), keepdim=True)
        gate = torch.sigmoid(self.gate(keys))
        return gate * keys + (1 - gate) * self.pixel(pixels)


class ChannelAttention(nn.Module):
    """Weight per channel, from its mean over the map.

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

    def forward(self, x: Float[Tensor, "B C h w"]) -> Float[Tensor, "B C h w"]:
        """Multiply x by the weights."""
        return x * self.weigh(x.mean((2, 3)))[..., None, None]

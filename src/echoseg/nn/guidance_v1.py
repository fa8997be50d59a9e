"""The guidance of `models.mssnet_v1`: attention weights of past frames over all token pairs.

Tokens are the cells of a coarse feature map. With f_t their features, P_t their attention weights
(one row per token, summing to 1) and h_t their temporal features:

    S_t  = softmax_a(kappa e_t(i) . e_(t-1)(a) - |i - a|^2 / (2 rho^2))    backward matching
    R_t  = the same, normalised over i                                     forward matching
    P~_t = S_t P_(t-1) R_t                                                 past weights, warped
    g_t  = sigmoid(W_g [f_t, agreement, uncertainty])                      gate on past weights
    P_t  = (1 - g_t) softmax(tau q_t . k_t) + g_t P~_t
    y_t  = f_t + W_o P_t v_t
    u_t  = sigmoid(W_u [y_t, S_t h_(t-1), |y_t - S_t h_(t-1)|] + 1)
    h_t  = S_t h_(t-1) + u_t (y_t - S_t h_(t-1))

h_t is both the output and the state; on the first frame g = 0 and u = 1, so h = y.

e, q, k have unit length, so all logits are bounded. `agreement` is e_t(i) . (S_t e_(t-1))(i): low
where the frame is noise or the scene was cut. `uncertainty` is the min-entropy of the frame's own
weights relative to its maximum: high where the frame alone does not determine where to attend.
Because the state holds *probabilities between matched positions*, the guidance follows a moving
wall, and the weights cannot grow from frame to frame.

The published MSSNet adds past logits, by position, inside triples of frames only; here a state of
constant size is carried from the first frame to the last, without look-ahead.
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

MAX_TOKENS = 256
"""Larger maps are pooled before the guidance, because the weights are quadratic in tokens."""


class GuidanceState(NamedTuple):
    """Recurrent state of the guidance; N is 1 before the first frame."""

    weights: Float[Tensor, "B heads N N"]
    """Attention weights."""
    embedding: Float[Tensor, "B N E"]
    """Embeddings by which tokens of two frames are matched."""
    features: Float[Tensor, "B N C"]
    """Temporal features."""
    is_first: Bool[Tensor, "B 1 1"]
    """True before the first frame."""


class SpatiotemporalGuidance(nn.Module):
    """The guidance over maps of any size.

    Args:
        num_channels: Channels of the feature map.
        num_heads: Number of attention heads.
        head_dim: Channels of a head's queries and keys.
        propagate: Carry attention weights from frame to frame; without it g = 0.
        remember: Carry temporal features from frame to frame; without it u = 1.
    """

    def __init__(
        self,
        num_channels: int,
        num_heads: int = 4,
        head_dim: int = 16,
        *,
        propagate: bool = True,
        remember: bool = True,
    ) -> None:
        super().__init__()
        self.num_heads, self.head_dim = num_heads, head_dim
        self.propagate, self.remember = propagate, remember
        inner = num_heads * head_dim
        self.norm = nn.LayerNorm(num_channels)
        # a depthwise convolution encodes position at any size, without a position embedding
        self.local = nn.Conv2d(num_channels, num_channels, 3, 1, 1, groups=num_channels)
        self.query_key = nn.Linear(num_channels, 2 * inner)
        self.value = nn.Linear(num_channels, num_channels)
        self.out = nn.Linear(num_channels, num_channels)
        self.log_sharpness = nn.Parameter(torch.full((num_heads, 1, 1), math.log(8.0)))
        if propagate or remember:
            self.embed = nn.Linear(num_channels, 2 * head_dim)
            self.log_match = nn.Parameter(torch.tensor(math.log(10.0)))
            self.log_reach = nn.Parameter(torch.tensor(math.log(1.5)))
        if propagate:
            self.trust = nn.Linear(num_channels + 2, num_heads)
            nn.init.zeros_(self.trust.weight)
            nn.init.constant_(self.trust.bias, -1.0)
        if remember:
            self.update = nn.Linear(3 * num_channels, num_channels)
            nn.init.constant_(self.update.bias, 1.0)

    def init_state(self, batch_size: int) -> GuidanceState:
        """State before the first frame."""
        weight = self.out.weight
        return GuidanceState(
            weight.new_zeros(batch_size, self.num_heads, 1, 1),
            weight.new_zeros(batch_size, 1, 2 * self.head_dim),
            weight.new_zeros(batch_size, 1, weight.shape[0]),
            torch.ones(batch_size, 1, 1, dtype=torch.bool, device=weight.device),
        )

    def step(
        self, features: Float[Tensor, "B C H W"], state: GuidanceState
    ) -> tuple[Float[Tensor, "B C H W"], GuidanceState]:
        """Process one frame; returns the guided features and the new state."""
        pool = 1
        while (features.shape[2] // pool) * (features.shape[3] // pool) > MAX_TOKENS:
            pool *= 2
        coarse = functional.avg_pool2d(features, pool) if pool > 1 else features
        guided, state = self._step(coarse, state)
        if pool == 1:
            return guided, state
        change = functional.interpolate(
            guided - coarse, size=features.shape[2:], mode="bilinear", align_corners=False
        )  # (B, C, H, W)
        return features + change, state

    def _step(
        self, features: Float[Tensor, "B C H W"], state: GuidanceState
    ) -> tuple[Float[Tensor, "B C H W"], GuidanceState]:
        height, width = features.shape[2:]
        tokens = (features + self.local(features)).flatten(2).transpose(1, 2)  # (B, N, C)
        normed = self.norm(tokens)
        own = self._own_weights(normed)
        weights, warped, embedding = own, tokens, state.embedding
        if self.propagate or self.remember:
            embedding = functional.normalize(self.embed(normed), dim=-1)  # (B, N, E)
            backward, onward = self._match(embedding, state.embedding, height, width)
            if self.propagate:
                weights = self._mix_weights(normed, own, embedding, backward, onward, state)
            warped = backward @ state.features.expand_as(tokens)  # (B, N, C)
        guided = tokens + self.out(self._attend(weights, self.value(normed)))
        if self.remember:
            gate_input = torch.cat([guided, warped, (guided - warped).abs()], -1)  # (B, N, 3C)
            gate = torch.sigmoid(self.update(gate_input))
            gate = torch.where(state.is_first, torch.ones_like(gate), gate)
            guided = warped + gate * (guided - warped)
        new = GuidanceState(weights, embedding, guided, torch.zeros_like(state.is_first))
        return guided.transpose(1, 2).unflatten(2, (height, width)), new

    def _own_weights(self, normed: Float[Tensor, "B N C"]) -> Float[Tensor, "B heads N N"]:
        """Compute the attention weights of this frame alone."""
        query, key = self.query_key(normed).chunk(2, -1)
        query, key = (
            functional.normalize(part.unflatten(2, (self.num_heads, -1)), dim=-1).transpose(1, 2)
            for part in (query, key)
        )  # (B, heads, N, D)
        return torch.softmax(self.log_sharpness.exp() * (query @ key.transpose(2, 3)), -1)

    def _match(
        self, now: Float[Tensor, "B N E"], before: Float[Tensor, "B _ E"], height: int, width: int
    ) -> tuple[Float[Tensor, "B N N"], Float[Tensor, "B N N"]]:
        """Match tokens: (now, before), normalised over before; (before, now), over now."""
        rows = torch.arange(height, device=now.device, dtype=now.dtype).repeat_interleave(width)
        columns = torch.arange(width, device=now.device, dtype=now.dtype).repeat(height)
        distance_sq = (rows[:, None] - rows) ** 2 + (columns[:, None] - columns) ** 2  # (N, N)
        similarity = now @ before.expand_as(now).transpose(1, 2)  # (B, N, N)
        reach_sq = (2 * self.log_reach).exp()
        logits = self.log_match.exp() * similarity - distance_sq / (2 * reach_sq)
        return torch.softmax(logits, 2), torch.softmax(logits, 1).transpose(1, 2)

    def _mix_weights(
        self,
        normed: Float[Tensor, "B N C"],
        own: Float[Tensor, "B heads N N"],
        embedding: Float[Tensor, "B N E"],
        backward: Float[Tensor, "B N N"],
        onward: Float[Tensor, "B N N"],
        state: GuidanceState,
    ) -> Float[Tensor, "B heads N N"]:
        """Mix the frame's weights with the past ones, warped to this frame."""
        past = state.weights.expand_as(own)
        past = backward[:, None] @ past @ onward[:, None]
        agreement = (embedding * (backward @ state.embedding.expand_as(embedding))).sum(-1)
        uncertainty = -own.amax(-1).log().mean(1) / math.log(max(own.shape[-1], 2))  # (B, N)
        gate_input = torch.cat([normed, agreement[..., None], uncertainty[..., None]], -1)
        gate = torch.sigmoid(self.trust(gate_input)).transpose(1, 2)[..., None]  # (B, heads, N, 1)
        gate = torch.where(state.is_first[:, None], torch.zeros_like(gate), gate)
        return own + gate * (past - own)

    def _attend(
        self, weights: Float[Tensor, "B heads N N"], value: Float[Tensor, "B N C"]
    ) -> Float[Tensor, "B N C"]:
        """Sum the values with the attention weights, head by head."""
        value = value.unflatten(2, (self.num_heads, -1)).transpose(1, 2)  # (B, heads, N, D)
        return (weights @ value).transpose(1, 2).flatten(2)

"""Spatiotemporal synergistic guidance: attention weights of past frames guide the next ones.

Tokens are the cells of a coarse feature map. With f_t their features, P_t their attention weights
(a row a token, summing to 1) and h_t their temporal features:

    S_t  = softmax_a(kappa e_t(i) . e_(t-1)(a) - |i - a|^2 / (2 rho^2))    where token i was before
    R_t  = the same, normalised over i                                     where token a has gone
    P~_t = S_t P_(t-1) R_t                                                 past weights, moved
    g_t  = sigmoid(W_g [f_t, agreement, doubt])                            how far to trust them
    P_t  = (1 - g_t) softmax(tau q_t . k_t) + g_t P~_t
    y_t  = f_t + W_o P_t v_t
    u_t  = sigmoid(W_u [y_t, S_t h_(t-1), |y_t - S_t h_(t-1)|] + 1)
    h_t  = S_t h_(t-1) + u_t (y_t - S_t h_(t-1))

h_t is both what is given on and what is carried; on the first frame g = 0 and u = 1, so h = y.

e, q, k have unit length, so all logits are bounded. `agreement` is e_t(i) . (S_t e_(t-1))(i): low
where the frame is noise or the scene was cut; `doubt` is the min-entropy of the frame's own
weights in parts of its largest: high where the frame alone does not know where to look. Because the
weights are carried as *probabilities between places that have been matched*, a wall that moved
keeps its guidance, and the weights cannot grow from frame to frame.

The published MSSNet adds past logits, by place, inside triples of frames only; here the state is
carried from the first frame to the last, at constant size, and never looks ahead.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

MOST_TOKENS = 256
"""Above so many tokens the map is pooled for the guidance: the weights are tokens squared."""


class GuidanceState(NamedTuple):
    """What the guidance carries from frame to frame."""

    weights: Tensor
    """Attention weights, `B heads N N`; `B heads 1 1` before the first frame."""
    embedding: Tensor
    """What tokens are matched by, `B N E`; `B 1 E` before the first frame."""
    features: Tensor
    """Temporal features, `B N C`; `B 1 C` before the first frame."""
    is_first: Tensor
    """`B 1 1` bool, true before the first frame."""


class SpatiotemporalGuidance(nn.Module):
    """The guidance; see the module.

    Args:
        num_channels: Channels of the feature map.
        num_heads: Attention heads.
        head_dim: Width of a head's queries and keys.
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
        # a depthwise convolution tells neighbours apart at any size; no position is learned
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
        """Return the state before the first frame."""
        weight = self.out.weight
        return GuidanceState(
            weight.new_zeros(batch_size, self.num_heads, 1, 1),
            weight.new_zeros(batch_size, 1, 2 * self.head_dim),
            weight.new_zeros(batch_size, 1, weight.shape[0]),
            torch.ones(batch_size, 1, 1, dtype=torch.bool, device=weight.device),
        )

    def step(self, features: Tensor, state: GuidanceState) -> tuple[Tensor, GuidanceState]:
        """Take in one frame: `B C H W` and the state -> `B C H W` and the new state."""
        pool = 1
        while (features.shape[2] // pool) * (features.shape[3] // pool) > MOST_TOKENS:
            pool *= 2
        coarse = functional.avg_pool2d(features, pool) if pool > 1 else features
        guided, state = self._step(coarse, state)
        if pool == 1:
            return guided, state
        change = functional.interpolate(
            guided - coarse, size=features.shape[2:], mode="bilinear", align_corners=False
        )
        return features + change, state

    def forward(self, features: Tensor, state: GuidanceState) -> tuple[Tensor, GuidanceState]:
        """Take in a clip: `B T C H W` and the state -> `B T C H W` and the last state."""
        outputs = []
        for frame in features.unbind(1):
            guided, state = self.step(frame, state)
            outputs.append(guided)
        return torch.stack(outputs, 1), state

    def _step(self, features: Tensor, state: GuidanceState) -> tuple[Tensor, GuidanceState]:
        height, width = features.shape[2:]
        tokens = (features + self.local(features)).flatten(2).transpose(1, 2)  # B N C
        normed = self.norm(tokens)
        own = self._own_weights(normed)
        weights, moved, embedding = own, tokens, state.embedding
        if self.propagate or self.remember:
            embedding = functional.normalize(self.embed(normed), dim=-1)
            came_from, gone_to = self._match(embedding, state.embedding, height, width)
            if self.propagate:
                weights = self._mixed(normed, own, embedding, came_from, gone_to, state)
            moved = came_from @ state.features.expand_as(tokens)
        guided = tokens + self.out(self._gathered(weights, self.value(normed)))
        if self.remember:
            gate_input = torch.cat([guided, moved, (guided - moved).abs()], -1)
            gate = torch.sigmoid(self.update(gate_input))
            gate = torch.where(state.is_first, torch.ones_like(gate), gate)
            guided = moved + gate * (guided - moved)
        new = GuidanceState(weights, embedding, guided, torch.zeros_like(state.is_first))
        return guided.transpose(1, 2).unflatten(2, (height, width)), new

    def _own_weights(self, normed: Tensor) -> Tensor:
        """Return the frame's own attention weights, `B heads N N`."""
        query, key = self.query_key(normed).chunk(2, -1)
        query, key = (
            functional.normalize(part.unflatten(2, (self.num_heads, -1)), dim=-1).transpose(1, 2)
            for part in (query, key)
        )
        return torch.softmax(self.log_sharpness.exp() * (query @ key.transpose(2, 3)), -1)

    def _match(self, now: Tensor, before: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
        """Return where tokens came from, `B N N` (now, before), and have gone, (before, now)."""
        rows = torch.arange(height, device=now.device, dtype=now.dtype).repeat_interleave(width)
        columns = torch.arange(width, device=now.device, dtype=now.dtype).repeat(height)
        away = (rows[:, None] - rows) ** 2 + (columns[:, None] - columns) ** 2
        alike = now @ before.expand_as(now).transpose(1, 2)
        logits = self.log_match.exp() * alike - away / (2 * (2 * self.log_reach).exp())
        return torch.softmax(logits, 2), torch.softmax(logits, 1).transpose(1, 2)

    def _mixed(
        self,
        normed: Tensor,
        own: Tensor,
        embedding: Tensor,
        came_from: Tensor,
        gone_to: Tensor,
        state: GuidanceState,
    ) -> Tensor:
        """Return the frame's weights mixed with the past's, which have been moved along."""
        past = state.weights.expand_as(own)
        past = came_from[:, None] @ past @ gone_to[:, None]
        agreement = (embedding * (came_from @ state.embedding.expand_as(embedding))).sum(-1)
        doubt = -own.amax(-1).log().mean(1) / math.log(max(own.shape[-1], 2))
        seen = torch.cat([normed, agreement[..., None], doubt[..., None]], -1)
        trust = torch.sigmoid(self.trust(seen)).transpose(1, 2)[..., None]  # B heads N 1
        trust = torch.where(state.is_first[:, None], torch.zeros_like(trust), trust)
        return own + trust * (past - own)

    def _gathered(self, weights: Tensor, value: Tensor) -> Tensor:
        """Return the values that the weights look at, `B N C`."""
        value = value.unflatten(2, (self.num_heads, -1)).transpose(1, 2)
        return (weights @ value).transpose(1, 2).flatten(2)

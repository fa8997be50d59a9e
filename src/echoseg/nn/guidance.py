"""Spatiotemporal synergistic guidance: attention weights of past frames guide the next ones.

Tokens are the cells i of a feature map, windows the offsets d with |d_x|, |d_y| <= r
(`nn.local_windows`). With f_t the features of a frame, h_t what is carried, e(.) the unit
embedding of their norm, and e^ = e less its mean over the window:

    A_t(i, d) = softmax_d(tau q(i) . k(i + d))                      |q| = |k| = 1
    m_t(i, d) = softmax_d(kappa e^(f_t)(i) . e(h_(t-1))(i + d) - |d|^2 / 2 rho^2)
    D_t(i)    = sum_d m_t(i, d) d                                   displacement
    h~, P~    = warp(h_(t-1), D_t), warp(P_(t-1), D_t)              (`nn.warp`)
    c_t(i)    = sigmoid(W [f_t, |f_t - h~|, e(f_t) . e(h~), uncertainty])
    y_t       = f_t + W_o [(1 - c) A_t v(f_t) + c P~ v(h~)]
    P_t       = (1 - c) A_t + c P~
    h_t       = (1 - c) y_t + c h~                                  output and state

c is the carry gate, one number per token: how much comes from the past; 0 on the first frame. The
uncertainty is the min-entropy of A_t relative to its maximum. P is stored by offset, so a warped
row stays a row of weights. The match is with h, which is gated: a frame of noise cannot replace
what the next frame is matched with. Where a frame is flat e^ = 0, and the match is the symmetric
prior: D = 0, and the memory stays in place, unblurred.
"""

import math
from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from echoseg.nn.local_windows import LocalWindows
from echoseg.nn.warp import corners, warp

RADIUS = 3
"""r, in tokens."""

Memory = Literal["none", "features", "values", "guidance"]
"""Nothing; h; h, read with the frame's own weights (A_t v(h~)); h and attention weights (P)."""


class GuidanceState(NamedTuple):
    """Recurrent state of the guidance; H = W = 1 before the first frame."""

    weights: Float[Tensor, "B H W P"]
    """Attention weights P, heads * D a token; `B 1 1 P` throughout where none are carried."""
    features: Float[Tensor, "B H W C"]
    """h; `B 1 1 C` throughout where nothing is carried."""
    is_first: Bool[Tensor, "B 1 1 1"]
    """True before the first frame."""


class FrameParts(NamedTuple):
    """What the guidance computes from a frame without its past."""

    tokens: Float[Tensor, "B H W C"]
    """f."""
    weights: Float[Tensor, "B H W P"]
    """A."""
    change: Float[Tensor, "B H W C"]
    """W_o A v(f), without the bias."""
    embedding: Float[Tensor, "B H W E"]
    """e(f)."""
    query: Float[Tensor, "B H W E"]
    """kappa e^(f)."""
    gate: Float[Tensor, "B H W 1"]
    """Part of the gate's logit."""


class GuidedFrame(NamedTuple):
    """What the guidance gives for a frame."""

    features: Float[Tensor, "B H W C"]
    """h."""
    displacement: Float[Tensor, "B H W 2"]
    """D, (columns, rows) in tokens."""
    carry: Float[Tensor, "B H W 1"]
    """Logits of the carry gate."""


class SpatiotemporalGuidance(nn.Module):
    """The guidance over maps of any size.

    Args:
        num_channels: Channels C of the feature map.
        memory: What is carried from frame to frame.
        num_heads: Number of attention heads.
        head_dim: Channels of a head's queries, keys and values.
    """

    offsets: Tensor
    """`D 2` offsets of the windows: columns, rows."""

    def __init__(
        self, num_channels: int, memory: Memory = "guidance", num_heads: int = 2, head_dim: int = 16
    ) -> None:
        super().__init__()
        self.memory: Memory = memory
        self.num_heads = num_heads
        inner = num_heads * head_dim
        self.norm = nn.LayerNorm(num_channels)
        self.query_key = nn.Linear(num_channels, 2 * inner)
        self.value = nn.Linear(num_channels, inner)
        self.out = nn.Linear(inner, num_channels)
        nn.init.normal_(self.out.weight, std=0.02)  # so that h begins close to f
        nn.init.zeros_(self.out.bias)
        self.log_sharpness = nn.Parameter(torch.full((num_heads, 1), math.log(18.0)))
        steps = torch.arange(-RADIUS, RADIUS + 1.0)
        offsets = torch.stack([steps.repeat(len(steps)), steps.repeat_interleave(len(steps))], 1)
        self.register_buffer("offsets", offsets, persistent=False)
        if memory == "none":
            return
        self.embed = nn.Linear(num_channels, 2 * head_dim)
        self.log_match = nn.Parameter(torch.tensor(math.log(10.0)))
        self.log_reach = nn.Parameter(torch.tensor(0.0))
        self.gate_frame = nn.Linear(num_channels, 1)
        self.gate_change = nn.Linear(num_channels, 1, bias=False)
        self.gate_agreement = nn.Parameter(torch.zeros(()))
        self.gate_uncertainty = nn.Parameter(torch.zeros(()))
        for layer in (self.gate_frame, self.gate_change):
            nn.init.zeros_(layer.weight)
        nn.init.constant_(self.gate_frame.bias, -2.0)

    def init_state(self, batch_size: int) -> GuidanceState:
        """State before the first frame."""
        weight = self.out.weight
        return GuidanceState(
            weight.new_zeros(batch_size, 1, 1, self.num_heads * len(self.offsets)),
            weight.new_zeros(batch_size, 1, 1, len(weight)),
            torch.ones(batch_size, 1, 1, 1, dtype=torch.bool, device=weight.device),
        )

    def windows(self, tokens: Float[Tensor, "B H W C"]) -> LocalWindows:
        """The windows of maps of that size."""
        return LocalWindows(tokens.shape[1], tokens.shape[2], RADIUS, tokens.device)

    def prepare(self, tokens: Float[Tensor, "B H W C"], windows: LocalWindows) -> FrameParts:
        """Compute what needs no past."""
        normed = self.norm(tokens)
        query, key = (
            functional.normalize(each.unflatten(3, (self.num_heads, -1)), dim=-1)
            for each in self.query_key(normed).chunk(2, -1)
        )  # (B, H, W, heads, dim)
        query, key = (_split_heads(each) for each in (self.log_sharpness.exp() * query, key))
        own = torch.softmax(windows.scores(query, windows.keys(key)), -1)  # (B * heads, H, W, D)
        own = own.unflatten(0, (-1, self.num_heads)).permute(0, 2, 3, 1, 4)  # (B, H, W, heads, D)
        weights = own.flatten(3)
        change = self._read(weights, self.value(normed), windows) @ self.out.weight.mT
        if self.memory == "none":
            return FrameParts(tokens, weights, change, *(tokens[..., :1],) * 3)
        embedding = functional.normalize(self.embed(normed), dim=-1)  # (B, H, W, E)
        mean = functional.avg_pool2d(
            embedding.movedim(-1, 1), windows.side, 1, RADIUS, count_include_pad=False
        ).movedim(1, -1)
        uncertainty = -own.amax(-1).log().mean(-1, keepdim=True) / math.log(len(self.offsets))
        gate = self.gate_frame(normed) + self.gate_uncertainty * uncertainty
        query = self.log_match.exp() * (embedding - mean)
        return FrameParts(tokens, weights, change, embedding, query, gate)

    def step(
        self, frame: FrameParts, state: GuidanceState, windows: LocalWindows
    ) -> tuple[GuidedFrame, GuidanceState]:
        """Join the parts of one frame with its past."""
        is_first = torch.zeros_like(state.is_first)
        own = frame.tokens + frame.change + self.out.bias
        if self.memory == "none":
            still = torch.zeros_like(own[..., :2])
            return GuidedFrame(own, still, still[..., :1]), state._replace(is_first=is_first)
        size = frame.tokens.shape[1:3]
        before = state.features.expand(-1, *size, -1)
        displacement = self._match(frame.query, before, windows)
        places = corners(displacement)
        past = warp(before, places)
        normed = self.norm(past)
        agreement = frame.embedding * functional.normalize(self.embed(normed), dim=-1)
        logits = frame.gate + self.gate_change((frame.tokens - past).abs())
        logits = logits + self.gate_agreement * agreement.sum(-1, keepdim=True)
        carry = torch.sigmoid(logits).masked_fill(state.is_first, 0)
        weights, reading = state.weights, frame.weights
        if self.memory == "guidance":
            reading = warp(weights.expand(-1, *size, -1), places)
            weights = frame.weights + carry * (reading - frame.weights)
        if self.memory != "features":
            read = self._read(reading, self.value(normed), windows) @ self.out.weight.mT
            own = own + carry * (read - frame.change)
        features = own + carry * (past - own)
        guided = GuidedFrame(features, displacement, logits)
        return guided, GuidanceState(weights, features, is_first)

    def _match(
        self,
        query: Float[Tensor, "B H W E"],
        before: Float[Tensor, "B H W C"],
        windows: LocalWindows,
    ) -> Float[Tensor, "B H W 2"]:
        """Where each token was: the mean offset of its match with the tokens of the memory."""
        before = functional.normalize(self.embed(self.norm(before)), dim=-1)  # (B, H, W, E)
        prior = self.offsets.square().sum(1) * (0.5 * (-2 * self.log_reach).exp())  # (D,)
        match = torch.softmax(windows.scores(query, windows.keys(before)) - prior, -1)
        return match @ self.offsets

    def _read(
        self,
        weights: Float[Tensor, "B H W P"],
        value: Float[Tensor, "B H W V"],
        windows: LocalWindows,
    ) -> Float[Tensor, "B H W V"]:
        """Read the values with the weights, head by head."""
        weights, value = (
            _split_heads(each.unflatten(3, (self.num_heads, -1))) for each in (weights, value)
        )
        read = windows.read(weights, windows.keys(value))  # (B * heads, H, W, dim)
        return read.unflatten(0, (-1, self.num_heads)).movedim(1, 3).flatten(3)


def _split_heads(x: Float[Tensor, "B H W heads dim"]) -> Float[Tensor, "N H W dim"]:
    """Make heads a part of the batch."""
    return x.movedim(3, 1).flatten(0, 1)

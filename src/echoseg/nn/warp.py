"""Maps moved by a displacement per cell, and a gated memory that moves with the picture.

    warp(x, D)(i) = x(i + D(i))    bilinear; outside the map, its nearest cell

    m~_t = warp(m_(t-1), D_t)
    c_t  = sigmoid(W [z_t, |z_t - m~_t|, s_t])    carry gate, one number per pixel; 0 on frame 1
    m_t  = (1 - c_t) z_t + c_t m~_t

s_t is a hint from elsewhere of how much of the pixel is to come from the past, as a logit.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn


class Corners(NamedTuple):
    """The four cells about each place that a map is moved from."""

    cells: Int[Tensor, " N"]
    """Their rows in the map flattened to `B*H*W C`, the four cells one after another."""
    weight: Float[Tensor, "4 B H W 1"]
    """Their bilinear weights."""


def corners(displacement: Float[Tensor, "B H W 2"]) -> Corners:
    """Where a displacement, columns then rows in cells, takes the values of a map from."""
    batch, height, width, _ = displacement.shape
    device = displacement.device
    rows = torch.arange(height, device=device)[:, None]
    y, x = displacement[..., 1].float() + rows, displacement[..., 0].float()
    x = (x + torch.arange(width, device=device)).clamp(0, width - 1)
    y = y.clamp(0, height - 1)
    left, top = (each.detach().nan_to_num().floor() for each in (x, y))  # nan gives no index
    start = torch.arange(batch, device=device)[:, None, None] * (height * width)
    first = start + width * top.long() + left.long()  # (B, H, W)
    # beyond the last cell the weight is 0, so any cell of the map will do
    right, below = (left < width - 1).long(), (top < height - 1).long() * width
    around = torch.stack([first, first + right, first + below, first + below + right])
    x, y = x - left, y - top
    weight = torch.stack([(1 - x) * (1 - y), x * (1 - y), (1 - x) * y, x * y])
    return Corners(around.flatten(), weight[..., None])


def warp(x: Float[Tensor, "B H W C"], corners: Corners) -> Float[Tensor, "B H W C"]:
    """Move a map."""
    cells = x.flatten(0, 2).index_select(0, corners.cells)  # (4 * B * H * W, C)
    weight = corners.weight.to(x.dtype)
    return (cells.view(*weight.shape[:-1], -1) * weight).sum(0)


class WarpedMemory(nn.Module):
    """Memory of a map, moved by a displacement and gated per pixel."""

    def __init__(self, num_channels: int) -> None:
        super().__init__()
        self.gate_frame = nn.Linear(num_channels, 1)
        self.gate_change = nn.Linear(num_channels, 1, bias=False)
        for parameter in self.parameters():
            nn.init.zeros_(parameter)
        self.gate_hint = nn.Parameter(torch.ones(()))  # it begins by following the hint

    def step(
        self,
        features: Float[Tensor, "B H W C"],
        memory: Float[Tensor, "B _ _ C"],
        hints: Float[Tensor, "B H W 3"],
        is_first: Bool[Tensor, "B 1 1 1"],
    ) -> tuple[Float[Tensor, "B H W C"], Float[Tensor, "B H W 1"], Float[Tensor, "B H W 1"]]:
        """Process one frame.

        Args:
            features: z of this frame.
            memory: m of the previous frame; `B 1 1 C` before the first.
            hints: D in cells of this map, columns then rows, and s.
            is_first: True before the first frame.

        Returns:
            m of this frame, which is also the output; the carry gate c; its logits.
        """
        displacement, hint = hints.split([2, 1], -1)
        change = warp(memory.expand_as(features), corners(displacement)) - features
        logits = self.gate_frame(features) + self.gate_change(change.abs()) + self.gate_hint * hint
        carry = torch.sigmoid(logits).masked_fill(is_first, 0)
        return features + carry * change, carry, logits

"""Fusion of maps of several resolutions with channel and spatial attention.

    x_i = upsampled(W_i f_i)
    y   = mix(sum_i x_i c_i s_i),   c_i = sigmoid(mlp(mean x_i)),   s_i = sigmoid(conv [mean, max])

c_i is one weight per channel; s_i is one weight per pixel, from the mean and maximum over channels.

Reference:
    Yang et al., "MSV-Mamba", arXiv 2501.07120, multi-scale attention aggregation; the two gates as
    in Woo et al., "CBAM", ECCV 2018, section 3.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from echoseg.nn.blocks import ResidualBlock
from experiments.networks.delta_memory import ChannelAttention


class SpatialAttention(nn.Module):
    """Weight per pixel, from the mean and the maximum over channels."""

    def __init__(self, size: int = 7) -> None:
        super().__init__()
        self.weigh = nn.Conv2d(2, 1, size, 1, size // 2)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        """Multiply x by the weights."""
        pooled = torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], 1)  # (B, 2, H, W)
        return x * torch.sigmoid(self.weigh(pooled))


class LevelFusion(nn.Module):
    """Aligns the levels of an encoder and fuses them at one size.

    Args:
        widths: Channels of each level.
        num_channels: Channels of the output.
    """

    def __init__(self, widths: tuple[int, ...], num_channels: int) -> None:
        super().__init__()
        self.align = nn.ModuleList(nn.Conv2d(width, num_channels, 1) for width in widths)
        self.attend = nn.ModuleList(
            nn.Sequential(ChannelAttention(num_channels), SpatialAttention()) for _ in widths
        )
        self.mix = ResidualBlock(num_channels, num_channels)

    def aligned(self, levels: list[Float[Tensor, "B _ _ _"]]) -> list[Float[Tensor, "B C _ _"]]:
        """Project every level to the same number of channels."""
        return [align(level) for align, level in zip(self.align, levels, strict=True)]

    def forward(
        self, aligned: list[Float[Tensor, "B C _ _"]], size: tuple[int, int]
    ) -> Float[Tensor, "B C h w"]:
        """Fuse aligned levels at the given size (rows, columns)."""
        upsampled = (
            functional.interpolate(x, size=size, mode="bilinear", align_corners=False)
            for x in aligned
        )
        weighted = [attend(x) for attend, x in zip(self.attend, upsampled, strict=True)]
        return self.mix(torch.stack(weighted).sum(0))  # (B, C, h, w)

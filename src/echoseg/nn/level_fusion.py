"""Maps of several sizes made one: each weighed by its channels and by its places.

    x_i = upsampled(W_i f_i)
    y   = mix(sum_i x_i c_i s_i),   c_i = sigmoid(mlp(mean x_i)),   s_i = sigmoid(conv [mean, max])

c_i is one number a channel, s_i one a place, of its mean and its greatest channel.

Reference:
    Yang et al., "MSV-Mamba", arXiv 2501.07120, multi-scale attention aggregation; the two gates as
    in Woo et al., "CBAM", ECCV 2018, section 3.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from echoseg.nn.blocks import ResidualBlock
from echoseg.nn.delta_memory import ChannelAttention


class SpatialAttention(nn.Module):
    """x times a weight for each place, read off its mean and its greatest channel."""

    def __init__(self, size: int = 7) -> None:
        super().__init__()
        self.weigh = nn.Conv2d(2, 1, size, 1, size // 2)

    def forward(self, x: Tensor) -> Tensor:
        """`B C h w` -> the same."""
        seen = torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], 1)
        return x * torch.sigmoid(self.weigh(seen))


class LevelFusion(nn.Module):
    """The module's equations.

    Args:
        widths: Channels of the levels.
        num_channels: Of what comes out.
    """

    def __init__(self, widths: tuple[int, ...], num_channels: int) -> None:
        super().__init__()
        self.align = nn.ModuleList(nn.Conv2d(width, num_channels, 1) for width in widths)
        self.attend = nn.ModuleList(
            nn.Sequential(ChannelAttention(num_channels), SpatialAttention()) for _ in widths
        )
        self.mix = ResidualBlock(num_channels, num_channels)

    def aligned(self, levels: list[Tensor]) -> list[Tensor]:
        """`B C_i h_i w_i` each -> `B C h_i w_i`, all in one space."""
        return [align(level) for align, level in zip(self.align, levels, strict=True)]

    def forward(self, aligned: list[Tensor], size: tuple[int, int]) -> Tensor:
        """Aligned levels `B C h_i w_i` -> `B C h w` of the size given."""
        upsampled = (
            functional.interpolate(x, size=size, mode="bilinear", align_corners=False)
            for x in aligned
        )
        weighed = [attend(x) for attend, x in zip(self.attend, upsampled, strict=True)]
        return self.mix(torch.stack(weighed).sum(0))

"""Convolution blocks of the encoder and the decoder."""

from typing import Annotated

from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

Width = Annotated[int, Field(ge=1, le=4096)]
"""Number of channels of a feature map, in a config."""


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with batch norm and a shortcut: y = relu(f(x) + s(x)).

    Reference:
        He, Zhang, Ren and Sun, CVPR 2016, figure 2.
    """

    def __init__(self, in_channels: int, out_channels: int, *, stride: int = 1) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 3, stride, 1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(out_channels, out_channels, 3, 1, 1, bias=False),
            nn.BatchNorm2d(out_channels),
        )
        same = stride == 1 and in_channels == out_channels
        self.shortcut = (
            nn.Identity()
            if same
            else nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride, bias=False),
                nn.BatchNorm2d(out_channels),
            )
        )

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B Cout h w"]:
        """Apply the block; h and w are H and W divided by the stride."""
        return functional.relu(self.body(x) + self.shortcut(x))


class UpBlock(nn.Module):
    """Upsample, add the encoder's skip connection, mix with a residual block."""

    def __init__(self, in_channels: int, skip_channels: int, out_channels: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(in_channels, out_channels, 1)
        self.skip = nn.Conv2d(skip_channels, out_channels, 1)
        self.mix = ResidualBlock(out_channels, out_channels)

    def forward(
        self, x: Float[Tensor, "B C h w"], skip: Float[Tensor, "B S H W"]
    ) -> Float[Tensor, "B Cout H W"]:
        """Upsample x to the size of the skip connection and join them."""
        x = functional.interpolate(
            self.reduce(x), size=skip.shape[-2:], mode="bilinear", align_corners=False
        )  # (B, Cout, H, W)
        return self.mix(x + self.skip(skip))

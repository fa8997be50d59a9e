"""Anatomical prior-aware feature enhancement: a map apart from its slowly varying acoustic field.

Attenuation and gain give a map X a smooth bias M; edges stand out above it, blood below it:

    M  = average of X over K x K            X+ = relu(X - M),   X- = relu(M - X)
    H+ = phi+(X+),  H- = phi-(X-)           3x3 convolution, batch norm, relu each, not shared
    g  = sigmoid(W [H+; H-]),   Z = g H+ + (1 - g) H-

Nothing is lost before the convolutions: X = X+ - X- + M. At the map's edge the average is over the
pixels that exist.

Reference:
    Wang, Wu and Qin, "OSA: Echocardiography Video Segmentation via Orthogonalized State Update and
    Anatomical Prior-aware Feature Enhancement", CVPR 2026 (arXiv 2603.26188), whose K is large; its
    value is not stated in what could be read, here 7 at stride 16.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

KERNEL = 7


class PriorEnhancement(nn.Module):
    """The module over maps of any size.

    Args:
        num_channels: Channels of the map.
        kernel: K, odd.
    """

    def __init__(self, num_channels: int, kernel: int = KERNEL) -> None:
        super().__init__()
        self.kernel = kernel
        self.above, self.below = (
            nn.Sequential(
                nn.Conv2d(num_channels, num_channels, 3, 1, 1, bias=False),
                nn.BatchNorm2d(num_channels),
                nn.ReLU(inplace=True),
            )
            for _ in range(2)
        )
        self.gate = nn.Conv2d(2 * num_channels, num_channels, 1)

    def field(self, x: Float[Tensor, "B C h w"]) -> Float[Tensor, "B C h w"]:
        """The acoustic field M."""
        return functional.avg_pool2d(x, self.kernel, 1, self.kernel // 2, count_include_pad=False)

    def forward(self, x: Float[Tensor, "B C h w"]) -> Float[Tensor, "B C h w"]:
        """Compute Z."""
        residual = x - self.field(x)
        above, below = self.above(residual.relu()), self.below((-residual).relu())
        gate = torch.sigmoid(self.gate(torch.cat([above, below], 1)))
        return gate * above + (1 - gate) * below

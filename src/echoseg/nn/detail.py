"""What a border looks like at full size, added to logits that were drawn at half of it.

With f the decoder's map at stride 2, x the frame, up the bilinear interpolation to its size:

    d = relu(norm(conv3(x)))
    y = conv1(relu(norm(conv3([up(conv1(f)), d])))),   logits <- up(logits) + y

A U-Net has a whole level at that size; here a few channels have to do. The last layer begins at
zero, so the network begins as it would be without.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional


class FullSizeDetail(nn.Module):
    """The module's y.

    Args:
        in_channels: Of the map at stride 2.
        width: Channels at full size.
        num_labels: Channels that come out.
    """

    def __init__(self, in_channels: int, width: int, num_labels: int) -> None:
        super().__init__()
        self.see = nn.Sequential(
            nn.Conv2d(1, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)
        )
        self.reduce = nn.Conv2d(in_channels, width, 1)
        self.mix = nn.Sequential(
            nn.Conv2d(2 * width, width, 3, 1, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
        )
        self.out = nn.Conv2d(width, num_labels, 1)
        for parameter in self.out.parameters():
            nn.init.zeros_(parameter)

    def forward(self, frames: Tensor, maps: Tensor) -> Tensor:
        """`N 1 H W` and `N C H/2 W/2` -> `N K H W`."""
        known = functional.interpolate(
            self.reduce(maps), size=frames.shape[-2:], mode="bilinear", align_corners=False
        )
        return self.out(self.mix(torch.cat([known, self.see(frames)], 1)))

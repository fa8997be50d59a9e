"""Full-resolution refinement of logits that were predicted at half resolution.

With f the decoder's map at stride 2, x the frame, up the bilinear interpolation to its size:

    d = relu(norm(conv3(x)))
    y = conv1(relu(norm(conv3([up(conv1(f)), d])))),   logits <- up(logits) + y

A U-Net has a whole level at that size; here a few channels suffice. The last layer is initialised
to zero, so that training starts from the unrefined logits.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional


class FullSizeDetail(nn.Module):
    """The correction y of the logits.

    Args:
        in_channels: Channels of the map at stride 2.
        width: Channels at full resolution.
        num_labels: Number of labels.
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

    def forward(
        self, frames: Float[Tensor, "N 1 H W"], maps: Float[Tensor, "N C h w"]
    ) -> Float[Tensor, "N K H W"]:
        """Compute y from frames and the decoder's maps at stride 2."""
        upsampled = functional.interpolate(
            self.reduce(maps), size=frames.shape[-2:], mode="bilinear", align_corners=False
        )  # (N, width, H, W)
        return self.out(self.mix(torch.cat([upsampled, self.see(frames)], 1)))

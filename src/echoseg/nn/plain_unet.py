"""The original U-Net of single frames."""

from collections.abc import Callable
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional


def conv3x3(in_channels: int, out_channels: int) -> nn.Module:
    """A 3x3 convolution; sizes are unchanged."""
    return nn.Conv2d(in_channels, out_channels, 3, 1, 1, bias=False)


class PlainUNet(nn.Module):
    """Encoder of convolution pairs and poolings, decoder of transposed convolutions and skips.

    Args:
        widths: Channels at strides 1, 2, 4, ...
        num_labels: Number of labels.
        conv: Makes a convolution from its (input, output) channels; sizes must be unchanged.

    Reference:
        Ronneberger, Fischer and Brox, MICCAI 2015, figure 1, here padded and with batch norm.
    """

    def __init__(
        self,
        widths: tuple[int, ...],
        num_labels: int,
        conv: Callable[[int, int], nn.Module] = conv3x3,
    ) -> None:
        super().__init__()

        def pair(*channels: int) -> nn.Sequential:
            layers: list[nn.Module] = []
            for before, after in pairwise(channels):
                layers += [conv(before, after), nn.BatchNorm2d(after), nn.ReLU(inplace=True)]
            return nn.Sequential(*layers)

        back = widths[::-1]
        self.encoder = nn.ModuleList(pair(a, b, b) for a, b in pairwise((1, *widths)))
        self.up = nn.ModuleList(nn.ConvTranspose2d(a, b, 2, 2) for a, b in pairwise(back))
        self.decoder = nn.ModuleList(pair(2 * width, width, width) for width in back[1:])
        self.head = nn.Conv2d(widths[0], num_labels, 1)

    def forward(self, x: Float[Tensor, "N 1 H W"]) -> Float[Tensor, "N K H W"]:
        """Compute logits."""
        skips: list[Tensor] = []
        for index, pair in enumerate(self.encoder):
            x = pair(functional.max_pool2d(x, 2) if index else x)
            skips.append(x)
        for up, pair, skip in zip(self.up, self.decoder, skips[-2::-1], strict=True):
            x = pair(torch.cat([skip, up(x)], 1))
        return self.head(x)

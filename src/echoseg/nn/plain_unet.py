"""The plain U-Net, over maps or clips: pairs of convolutions, poolings, joined skips.

Over clips the convolutions are three frames deep. That is a 3x3 convolution of each frame joined
by channels with the frame before and the frame after, zeros beyond the ends: the same numbers as a
3x3x3 one, and several times as fast on a CPU.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional


class ClipConv(nn.Module):
    """A 3x3x3 convolution over clips of `num_frames`, which lie frame by frame in the batch.

    `weight` of the equal `conv3d`, `C' C 3 3 3`, is here `C' 3*C 3 3`, the frame before first.
    """

    def __init__(self, in_channels: int, out_channels: int, num_frames: int) -> None:
        super().__init__()
        self.num_frames = num_frames
        self.conv = nn.Conv2d(3 * in_channels, out_channels, 3, 1, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """`B*T C H W` -> `B*T C' H W`."""
        frames = x.unflatten(0, (-1, self.num_frames))
        padded = functional.pad(frames, (0, 0, 0, 0, 0, 0, 1, 1))
        return self.conv(torch.cat([padded[:, :-2], frames, padded[:, 2:]], 2).flatten(0, 1))


class ConvPair(nn.Sequential):
    """Two 3-wide convolutions, each with batch norm and a rectifier; sizes stay."""

    def __init__(self, in_channels: int, out_channels: int, num_frames: int | None) -> None:
        layers: list[nn.Module] = []
        for given, made in pairwise((in_channels, out_channels, out_channels)):
            layers += [
                nn.Conv2d(given, made, 3, 1, 1, bias=False)
                if num_frames is None
                else ClipConv(given, made, num_frames),
                nn.BatchNorm2d(made),
                nn.ReLU(inplace=True),
            ]
        super().__init__(*layers)


class PlainUNet(nn.Module):
    """Encoder of pairs and poolings, decoder of transposed convolutions and joined skips.

    Poolings and their inverses are over rows and columns alone, so a clip keeps its frames.

    Args:
        widths: Channels at strides 1, 2, 4, ...
        num_labels: Channels that come out.
        num_frames: Frames of the clips that it sees whole; frames on their own when not given.

    Reference:
        Ronneberger, Fischer and Brox, MICCAI 2015, figure 1, here padded and with batch norm;
        Çiçek et al., MICCAI 2016, for clips.
    """

    def __init__(
        self, widths: tuple[int, ...], num_labels: int, num_frames: int | None = None
    ) -> None:
        super().__init__()
        back = widths[::-1]
        self.encoder = nn.ModuleList(ConvPair(a, b, num_frames) for a, b in pairwise((1, *widths)))
        self.up = nn.ModuleList(nn.ConvTranspose2d(a, b, 2, 2) for a, b in pairwise(back))
        self.decoder = nn.ModuleList(ConvPair(2 * width, width, num_frames) for width in back[1:])
        self.head = nn.Conv2d(widths[0], num_labels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """`N 1 H W` -> `N K H W`."""
        skips: list[Tensor] = []
        for index, pair in enumerate(self.encoder):
            x = pair(functional.max_pool2d(x, 2) if index else x)
            skips.append(x)
        for up, pair, skip in zip(self.up, self.decoder, skips[-2::-1], strict=True):
            x = pair(torch.cat([skip, up(x)], 1))
        return self.head(x)

"""The original U-Net, for frames or for clips.

For clips the convolutions span three frames. A 3x3x3 convolution is computed as a 3x3 convolution
of each frame concatenated with the previous and the next one, with zeros beyond the ends: equal,
and several times as fast on a CPU.
"""

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional


class ClipConv(nn.Module):
    """A 3x3x3 convolution over clips of T = `num_frames`, whose frames are in the batch axis.

    The weight `C' C 3 3 3` of the equal `conv3d` is here `C' 3*C 3 3`, the previous frame first.
    """

    def __init__(self, in_channels: int, out_channels: int, num_frames: int) -> None:
        super().__init__()
        self.num_frames = num_frames
        self.conv = nn.Conv2d(3 * in_channels, out_channels, 3, 1, 1, bias=False)

    def forward(self, x: Float[Tensor, "BT C H W"]) -> Float[Tensor, "BT Cout H W"]:
        """Convolve every clip of the batch."""
        frames = x.unflatten(0, (-1, self.num_frames))  # (B, T, C, H, W)
        padded = functional.pad(frames, (0, 0, 0, 0, 0, 0, 1, 1))  # (B, T + 2, C, H, W)
        triples = torch.cat([padded[:, :-2], frames, padded[:, 2:]], 2)  # (B, T, 3C, H, W)
        return self.conv(triples.flatten(0, 1))


class ConvPair(nn.Sequential):
    """Two convolutions of width 3, each with batch norm and a ReLU; sizes are unchanged."""

    def __init__(self, in_channels: int, out_channels: int, num_frames: int | None) -> None:
        layers: list[nn.Module] = []
        for before, after in pairwise((in_channels, out_channels, out_channels)):
            layers += [
                nn.Conv2d(before, after, 3, 1, 1, bias=False)
                if num_frames is None
                else ClipConv(before, after, num_frames),
                nn.BatchNorm2d(after),
                nn.ReLU(inplace=True),
            ]
        super().__init__(*layers)


class PlainUNet(nn.Module):
    """Encoder of convolution pairs and poolings, decoder of transposed convolutions and skips.

    Pooling is over rows and columns only, so a clip keeps its frames.

    Args:
        widths: Channels at strides 1, 2, 4, ...
        num_labels: Number of labels.
        num_frames: Frames per clip; frames are independent when not given.

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

    def forward(self, x: Float[Tensor, "N 1 H W"]) -> Float[Tensor, "N K H W"]:
        """Compute logits."""
        skips: list[Tensor] = []
        for index, pair in enumerate(self.encoder):
            x = pair(functional.max_pool2d(x, 2) if index else x)
            skips.append(x)
        for up, pair, skip in zip(self.up, self.decoder, skips[-2::-1], strict=True):
            x = pair(torch.cat([skip, up(x)], 1))
        return self.head(x)

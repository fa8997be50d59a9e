"""A 3-D U-Net over windows of a clip, with convolutions over time, rows and columns.

It looks ahead inside a window and cannot stream; `models.windows` runs it over longer clips.
Pooling is over rows and columns only (in the paper over all three axes), since a beat has few
frames and each needs its mask.

A 3x3x3 convolution is computed as a 3x3 convolution of each frame concatenated with the previous
and the next one, with zeros beyond the ends: equal, and several times as fast on a CPU.

Reference:
    Çiçek, Abdulkadir, Lienkamp, Brox and Ronneberger, MICCAI 2016, figure 2.
"""

from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn import functional

from echoseg.models.clip_segmenter import ClipSegmenter
from echoseg.nn.plain_unet import PlainUNet
from echoseg.nn.unet import Widths


class UNet3DConfig(BaseModel):
    """Architecture of `UNet3D`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    num_frames: int = Field(default=8, ge=1, le=64)
    """Number of frames in a window."""
    widths: Widths = (12, 24, 48, 96)
    """Channels at strides 1, 2, 4, 8."""
    num_labels: int = Field(default=4, ge=1, le=32)
    """Number of labels, including background."""


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


class UNet3D(ClipSegmenter):
    """3-D U-Net of windows of `num_frames` frames."""

    stride = 8
    config_class = UNet3DConfig

    def __init__(self, config: UNet3DConfig | None = None, **options: Any) -> None:
        super().__init__(config, **options)
        self.num_frames = self.config.num_frames
        conv = partial(ClipConv, num_frames=self.num_frames)
        self.net = PlainUNet(self.config.widths, self.num_labels, conv)

    def _forward(self, frames: Float[Tensor, "B T 1 H W"]) -> Float[Tensor, "B T K H W"]:
        return self.net(frames.flatten(0, 1)).unflatten(0, frames.shape[:2])

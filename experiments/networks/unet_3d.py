"""A 3-D U-Net over windows of a clip, with convolutions over time, rows and columns.

It looks ahead inside a window and cannot stream; `models.windows` runs it over longer clips.
Pooling is over rows and columns only (in the paper over all three axes), since a beat has few
frames and each needs its mask.

Reference:
    Çiçek, Abdulkadir, Lienkamp, Brox and Ronneberger, MICCAI 2016, figure 2.
"""

from typing import Any

from jaxtyping import Float
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

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


class UNet3D(ClipSegmenter):
    """3-D U-Net of windows of `num_frames` frames."""

    stride = 8
    config_class = UNet3DConfig

    def __init__(self, config: UNet3DConfig | None = None, **options: Any) -> None:
        super().__init__(config, **options)
        self.num_frames = self.config.num_frames
        self.net = PlainUNet(self.config.widths, self.num_labels, self.num_frames)

    def _forward(self, frames: Float[Tensor, "B T 1 H W"]) -> Float[Tensor, "B T K H W"]:
        return self.net(frames.flatten(0, 1)).unflatten(0, frames.shape[:2])

"""A 3-D U-Net over windows of a clip: convolutions over time as over rows and columns.

The frames of a window see each other to both sides, so it looks ahead and cannot stream;
`models.windows` runs it over longer clips. Poolings are over rows and columns alone (in the paper
over all three), since a beat has few frames and each needs its mask.

Reference:
    Çiçek, Abdulkadir, Lienkamp, Brox and Ronneberger, MICCAI 2016, figure 2.
"""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from echoseg.models.clip_segmenter import ClipSegmenter
from echoseg.nn.plain_unet import PlainUNet
from echoseg.nn.unet import Widths


class UNet3DConfig(BaseModel):
    """Shape of a `UNet3D`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    num_frames: int = Field(default=8, ge=1, le=64)
    """Frames of a window; it takes no other number."""
    widths: Widths = (12, 24, 48, 96)
    """Channels at strides 1, 2, 4, 8."""
    num_labels: int = Field(default=4, ge=1, le=32)
    """Labels told apart, background included."""


class UNet3D(ClipSegmenter):
    """The network; see the module."""

    stride = 8
    config_class = UNet3DConfig

    def __init__(self, config: UNet3DConfig | None = None, **options: Any) -> None:
        super().__init__(config, **options)
        self.num_frames = self.config.num_frames
        self.net = PlainUNet(self.config.widths, self.num_labels, self.num_frames)

    def _forward(self, frames: Tensor) -> Tensor:
        return self.net(frames.flatten(0, 1)).unflatten(0, frames.shape[:2])

"""The plain U-Net, frame by frame: what a network without memory does.

Pairs of 3x3 convolutions at strides 1 to 16 with poolings between, transposed convolutions back up,
skips joined by channels. Narrower than published (64 to 1024 channels there), padded so that sizes
stay, and with batch norm.

Reference:
    Ronneberger, Fischer and Brox, MICCAI 2015, figure 1.
"""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from echoseg.models.frame_segmenter import FrameSegmenter
from echoseg.nn.blocks import Width
from echoseg.nn.plain_unet import PlainUNet


class UNetConfig(BaseModel):
    """Shape of a `UNet`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    widths: tuple[Width, Width, Width, Width, Width] = (16, 32, 64, 128, 256)
    """Channels at strides 1, 2, 4, 8, 16."""
    num_labels: int = Field(default=4, ge=1, le=32)
    """Labels told apart, background included."""


class UNet(FrameSegmenter):
    """The network; see the module."""

    stride = 16
    config_class = UNetConfig

    def __init__(self, config: UNetConfig | None = None, **options: Any) -> None:
        super().__init__(config, **options)
        self.net = PlainUNet(self.config.widths, self.num_labels)

    def segment(self, frames: Tensor) -> Tensor:
        """`N 1 H W` -> logits `N K H W`."""
        return self.net(frames)

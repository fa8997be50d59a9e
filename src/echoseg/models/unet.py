"""The original U-Net, frame by frame: the baseline without memory.

Pairs of 3x3 convolutions at strides 1 to 16, max pooling, transposed convolutions and concatenated
skips. Narrower than published (64 to 1024 channels), with padding and batch norm.

Reference:
    Ronneberger, Fischer and Brox, MICCAI 2015, figure 1.
"""

from typing import Any

from jaxtyping import Float
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from echoseg.models.frame_segmenter import FrameSegmenter
from echoseg.nn.blocks import Width
from echoseg.nn.plain_unet import PlainUNet


class UNetConfig(BaseModel):
    """Architecture of `UNet`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    widths: tuple[Width, Width, Width, Width, Width] = (16, 32, 64, 128, 256)
    """Channels at strides 1, 2, 4, 8, 16."""
    num_labels: int = Field(default=4, ge=1, le=32)
    """Number of labels, including background."""


class UNet(FrameSegmenter):
    """U-Net of independent frames."""

    stride = 16
    config_class = UNetConfig

    def __init__(self, config: UNetConfig | None = None, **options: Any) -> None:
        super().__init__(config, **options)
        self.net = PlainUNet(self.config.widths, self.num_labels)

    def segment(self, frames: Float[Tensor, "N 1 H W"]) -> Float[Tensor, "N K H W"]:
        """Compute the logits of independent frames."""
        return self.net(frames)

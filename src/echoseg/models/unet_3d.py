"""A 3-D U-Net over windows of a clip: convolutions over time as over rows and columns.

The frames of a window see each other to both sides, so it looks ahead and cannot stream;
`models.windows` runs it over longer clips. Poolings are over rows and columns alone (in the paper
over all three), since a beat has few frames and each needs its mask.

Reference:
    Çiçek, Abdulkadir, Lienkamp, Brox and Ronneberger, MICCAI 2016, figure 2.
"""

from typing import NoReturn

from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from echoseg.errors import ModelError
from echoseg.models.segmenter import Segmenter
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


class UNet3D(Segmenter):
    """The network; see the module."""

    stride = 8
    streams = False
    config_class = UNet3DConfig

    def __init__(self, config: UNet3DConfig | None = None) -> None:
        super().__init__()
        self.config = config or UNet3DConfig()
        self.num_labels, self.num_frames = self.config.num_labels, self.config.num_frames
        self.net = PlainUNet(self.config.widths, self.num_labels, self.num_frames)

    def init_state(self, batch_size: int) -> NoReturn:
        """Refuse: it looks ahead."""
        raise ModelError(self._no_stream())

    def step(self, frame: Tensor, state: object) -> NoReturn:
        """Refuse: it looks ahead."""
        raise ModelError(self._no_stream())

    def _no_stream(self) -> str:
        return (
            f"a 3-D U-Net looks ahead and cannot take one frame at a time; give whole clips of "
            f"{self.num_frames} frames to its forward, or any longer clip to "
            "echoseg.models.windows.each_frame"
        )

    def forward(self, frames: Tensor) -> Tensor:
        """Take in windows: `B T 1 H W` -> logits `B T K H W`.

        Raises:
            ModelError: If they have another number of frames than the config's.
        """
        self.check_clip(frames)
        return self.net(frames.flatten(0, 1)).unflatten(0, frames.shape[:2])

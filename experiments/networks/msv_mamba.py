"""MSV-Mamba: a residual encoder and a decoder of windowed state-space scans, frame by frame.

The encoder is a cascade of residual blocks at strides 2, 4, 8 and 16 (`nn.unet`). Each decoder
level joins the one below, upsampled, with the skip of its size and scans the map in windows of two
sizes (`nn.window_scan`). All levels are fused by channel and spatial
attention (`nn.level_fusion`), and the fused map gives the logits at stride 2.

Each level has its own loss: `level_logits` applies the output layer of the fused map to every
aligned level, so the auxiliary heads have no weights of their own; `losses.level_loss` sums them.

No code was published; window sizes, widths and loss weights are ours.

Reference:
    Yang, Wang, Zhang, Wei, Lyu and Chen, "MSV-Mamba: A Multiscale Vision Mamba Network for
    Echocardiography Segmentation", arXiv 2501.07120, IEEE TCSS 2025.
"""

from typing import Annotated, Any

from jaxtyping import Float
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn import functional

from echoseg.models.frame_segmenter import FrameSegmenter
from echoseg.nn.blocks import UpBlock
from echoseg.nn.unet import ResidualUNet
from experiments.networks.level_fusion import LevelFusion
from experiments.networks.window_scan import WindowScan

Window = Annotated[int, Field(ge=1, le=256)]
"""Side of a window, in pixels of the map."""


EvenWidth = Annotated[int, Field(ge=2, le=4096, multiple_of=2)]
"""Channels, split between the two window sizes."""


class MSVMambaConfig(BaseModel):
    """Architecture of `MSVMamba`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    widths: tuple[EvenWidth, EvenWidth, EvenWidth, EvenWidth] = (16, 32, 64, 128)
    """Channels at strides 2, 4, 8, 16."""
    windows: tuple[Window, Window] = (8, 16)
    """Sides of the windows."""
    fused_width: int = Field(default=32, ge=4, le=256)
    """Channels of the fused map."""
    num_labels: int = Field(default=4, ge=1, le=32)
    """Number of labels, including background."""


class MSVMamba(ResidualUNet, FrameSegmenter):
    """Segmenter with a decoder of windowed state-space scans."""

    stride = 16
    config_class = MSVMambaConfig

    def __init__(self, config: MSVMambaConfig | None = None, **options: Any) -> None:
        super().__init__(config, **options)
        widths = self.config.widths
        w0, w1, w2, w3 = widths
        self.add_encoder(widths)
        self.ups = nn.ModuleList([UpBlock(w3, w2, w2), UpBlock(w2, w1, w1), UpBlock(w1, w0, w0)])
        self.scans = nn.ModuleList(WindowScan(w, self.config.windows) for w in widths[::-1])
        self.fusion = LevelFusion(widths[::-1], self.config.fused_width)
        self.head = nn.Conv2d(self.config.fused_width, self.num_labels, 1)

    def segment(self, frames: Float[Tensor, "N 1 H W"]) -> Float[Tensor, "N K H W"]:
        """Compute the logits of independent frames."""
        return self._predict(self._fused(self._aligned(frames)), frames)

    def level_logits(self, frames: Float[Tensor, "N 1 H W"]) -> list[Float[Tensor, "N K H W"]]:
        """Compute the fused logits and those of each level, coarsest first."""
        aligned = self._aligned(frames)
        return [self._predict(level, frames) for level in (self._fused(aligned), *aligned)]

    def _aligned(self, frames: Float[Tensor, "N 1 H W"]) -> list[Float[Tensor, "N C _ _"]]:
        """Compute the aligned levels of the decoder, at strides 16, 8, 4 and 2."""
        *skips, coarse = self.encode(frames)
        levels = [self.scans[0](coarse)]
        for up, scan, skip in zip(self.ups, list(self.scans)[1:], skips[::-1], strict=True):
            levels.append(scan(up(levels[-1], skip)))
        return self.fusion.aligned(levels)

    def _fused(self, aligned: list[Tensor]) -> Tensor:
        return self.fusion(aligned, (aligned[-1].shape[2], aligned[-1].shape[3]))

    def _predict(
        self, features: Float[Tensor, "N C _ _"], frames: Float[Tensor, "N 1 H W"]
    ) -> Float[Tensor, "N K H W"]:
        return functional.interpolate(
            self.head(features), size=frames.shape[-2:], mode="bilinear", align_corners=False
        )

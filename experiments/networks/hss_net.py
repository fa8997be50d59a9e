"""HSS-Net's design at our size: convolutions at fine strides, a scan across frames at coarse ones.

The encoder's stages at strides 2 and 4 see single frames; those at strides 8 and 16 end in blocks
x + scan(norm x), x + mlp(norm x) whose scan (`cross_frame_scan`) goes on from frame to frame. The
decoder has skips and processes single frames.

Different from the paper: encoder and decoder are those of `nn.unet`, trained from scratch, and the
scan is causal, so that the network streams.

Reference:
    Wang, Yang, Zhang and Zhou, HSS-Net, MICCAI 2025 (arXiv 2508.18681).
"""

from typing import Any, NamedTuple

from jaxtyping import Float
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from echoseg.models.segmenter import Segmenter
from echoseg.nn.unet import ResidualUNet, Widths
from experiments.networks.cross_frame_scan import CrossFrameScan


class HSSNetConfig(BaseModel):
    """Architecture of `HSSNet`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    widths: Widths = (16, 32, 96, 160)
    """Channels at strides 2, 4, 8, 16; the last two multiples of 32."""
    skip: int = Field(default=2, ge=1, le=8)
    """Distance of neighbours in a scanned sequence, in pixels of the map; 1 scans all positions."""
    num_labels: int = Field(default=4, ge=2, le=32)
    """Number of labels, including background."""


class HSSNetState(NamedTuple):
    """Recurrent state of `HSSNet`: the scans' states at strides 8 and 16."""

    middle: Float[Tensor, "B S2 heads N P"]
    coarse: Float[Tensor, "B S2 heads N P"]


class ScanBlock(nn.Module):
    """A scan across frames and a feed-forward, each with norm before and residual around it."""

    def __init__(self, num_channels: int, skip: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(1, num_channels)
        self.scan = CrossFrameScan(num_channels, skip)
        self.feed_forward = nn.Sequential(
            nn.GroupNorm(1, num_channels),
            nn.Conv2d(num_channels, 2 * num_channels, 1),
            nn.GELU(),
            nn.Conv2d(2 * num_channels, num_channels, 1),
        )

    def forward(
        self, maps: Float[Tensor, "B T C h w"], state: Float[Tensor, "B S2 heads N P"]
    ) -> tuple[Float[Tensor, "B T C h w"], Float[Tensor, "B S2 heads N P"]]:
        """Process the frames of a clip from a state; returns maps and the new state."""
        sizes = maps.shape[:2]
        normed = self.norm(maps.flatten(0, 1)).unflatten(0, sizes)
        scanned, state = self.scan(normed, state)
        maps = (maps + scanned).flatten(0, 1)
        return (maps + self.feed_forward(maps)).unflatten(0, sizes), state


class HSSNet(ResidualUNet, Segmenter):
    """Residual U-Net whose coarse stages scan across frames."""

    stride = 16
    config_class = HSSNetConfig

    def __init__(self, config: HSSNetConfig | None = None, **options: Any) -> None:
        super().__init__(config, **options)
        widths, skip = self.config.widths, self.config.skip
        self.add_encoder(widths)
        self.middle_scan, self.coarse_scan = (ScanBlock(width, skip) for width in widths[2:])
        self.add_decoder(widths, self.num_labels)

    def init_state(self, batch_size: int) -> HSSNetState:
        """Empty states."""
        blocks = self.middle_scan, self.coarse_scan
        return HSSNetState(*(block.scan.init_state(batch_size) for block in blocks))

    def _step(
        self, frame: Float[Tensor, "B 1 H W"], state: HSSNetState
    ) -> tuple[Float[Tensor, "B K H W"], HSSNetState]:
        logits, state = self._run(frame[:, None], state)
        return logits[:, 0], state

    def _forward(self, frames: Float[Tensor, "B T 1 H W"]) -> Float[Tensor, "B T K H W"]:
        return self._run(frames, self.init_state(len(frames)))[0]

    def _run(
        self, frames: Float[Tensor, "B T 1 H W"], state: HSSNetState
    ) -> tuple[Float[Tensor, "B T K H W"], HSSNetState]:
        sizes = frames.shape[:2]
        skip0 = self.encoder0(self.stem(frames.flatten(0, 1)))
        skip1 = self.encoder1(skip0)
        middle = self.encoder2(skip1).unflatten(0, sizes)  # (B, T, C, H/8, W/8)
        middle, middle_state = self.middle_scan(middle, state.middle)
        coarse = self.encoder3(middle.flatten(0, 1)).unflatten(0, sizes)
        coarse, coarse_state = self.coarse_scan(coarse, state.coarse)
        logits = self.decode(skip0, skip1, middle.flatten(0, 1), coarse.flatten(0, 1))
        return logits.unflatten(0, sizes), HSSNetState(middle_state, coarse_state)

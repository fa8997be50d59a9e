"""A small causal video segmenter: a residual U-Net with a gated memory at its two coarsest maps.

Encoder and decoder see one frame each; only the memories (`nn.memory`) join frames, at strides
8 and 16 of the input. So a frame costs the same at any clip length and streaming gives what the
whole clip gives.
"""

from typing import NamedTuple

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn import functional

from echoseg.models.segmenter import Segmenter
from echoseg.nn.blocks import ResidualBlock, UpBlock
from echoseg.nn.memory import GatedMemory


class MemoryUNetConfig(BaseModel):
    """Shape of a `MemoryUNet`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    widths: tuple[int, int, int, int] = (24, 48, 96, 160)
    """Channels at strides 2, 4, 8, 16."""
    num_labels: int = Field(default=4, ge=2, le=32)
    """Labels told apart, background included."""


class MemoryUNetState(NamedTuple):
    """What a `MemoryUNet` carries from frame to frame."""

    coarse: Tensor
    """Memory at stride 16, `B C h w`; `B C 1 1` before the first frame."""
    middle: Tensor
    """Memory at stride 8, the same."""
    is_first: Tensor
    """`B 1 1 1` bool, true before the first frame."""


class MemoryUNet(Segmenter):
    """Residual U-Net with gated memory; see the module's text."""

    stride = 16
    config_class = MemoryUNetConfig

    def __init__(self, config: MemoryUNetConfig | None = None) -> None:
        super().__init__()
        self.config = config or MemoryUNetConfig()
        self.num_labels = self.config.num_labels
        w0, w1, w2, w3 = self.config.widths
        self.stem = nn.Sequential(
            nn.Conv2d(1, w0, 5, 2, 2, bias=False), nn.BatchNorm2d(w0), nn.ReLU(inplace=True)
        )
        self.encoder0 = ResidualBlock(w0, w0)
        self.encoder1 = nn.Sequential(ResidualBlock(w0, w1, stride=2), ResidualBlock(w1, w1))
        self.encoder2 = nn.Sequential(ResidualBlock(w1, w2, stride=2), ResidualBlock(w2, w2))
        self.encoder3 = nn.Sequential(ResidualBlock(w2, w3, stride=2), ResidualBlock(w3, w3))
        self.memory_middle = GatedMemory(w2)
        self.memory_coarse = GatedMemory(w3)
        self.decoder2 = UpBlock(w3, w2, w2)
        self.decoder1 = UpBlock(w2, w1, w1)
        self.decoder0 = UpBlock(w1, w0, w0)
        self.head = nn.Conv2d(w0, self.num_labels, 1)

    def init_state(self, batch_size: int) -> MemoryUNetState:
        """Return an empty memory; it takes the frame's size when the first frame comes."""
        weight = self.head.weight
        _, _, w2, w3 = self.config.widths
        return MemoryUNetState(
            weight.new_zeros(batch_size, w3, 1, 1),
            weight.new_zeros(batch_size, w2, 1, 1),
            torch.ones(batch_size, 1, 1, 1, dtype=torch.bool, device=weight.device),
        )

    def _encode(self, frames: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        skip0 = self.encoder0(self.stem(frames))
        skip1 = self.encoder1(skip0)
        middle = self.encoder2(skip1)
        return skip0, skip1, middle, self.encoder3(middle)

    def _decode(self, skip0: Tensor, skip1: Tensor, middle: Tensor, coarse: Tensor) -> Tensor:
        x = self.decoder2(coarse, middle)
        x = self.decoder0(self.decoder1(x, skip1), skip0)
        return functional.interpolate(
            self.head(x), scale_factor=2, mode="bilinear", align_corners=False
        )

    def step(self, frame: Tensor, state: MemoryUNetState) -> tuple[Tensor, MemoryUNetState]:
        """Take in one frame: `B 1 H W` -> logits `B K H W`."""
        skip0, skip1, middle, coarse = self._encode(frame)
        middle = self.memory_middle.step(middle, state.middle, state.is_first)
        coarse = self.memory_coarse.step(coarse, state.coarse, state.is_first)
        logits = self._decode(skip0, skip1, middle, coarse)
        return logits, MemoryUNetState(coarse, middle, torch.zeros_like(state.is_first))

    def forward(self, frames: Tensor) -> Tensor:
        """Take in a clip: `B T 1 H W` -> logits `B T K H W`."""
        batch, time = frames.shape[:2]
        state = self.init_state(batch)
        skip0, skip1, middle, coarse = self._encode(frames.flatten(0, 1))
        middle = self.memory_middle(
            middle.unflatten(0, (batch, time)), state.middle, state.is_first
        )
        coarse = self.memory_coarse(
            coarse.unflatten(0, (batch, time)), state.coarse, state.is_first
        )
        logits = self._decode(skip0, skip1, middle.flatten(0, 1), coarse.flatten(0, 1))
        return logits.unflatten(0, (batch, time))

"""A small causal video segmenter: a residual U-Net with a gated memory at its two coarsest maps.

Encoder and decoder process single frames; only the memories (`nn.memory`) join frames, at strides
8 and 16. The cost per frame is constant, and streaming equals processing the whole clip.
"""

from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from echoseg.models.segmenter import Segmenter
from echoseg.nn.memory import GatedMemory
from echoseg.nn.unet import ResidualUNet, Widths


class MemoryUNetConfig(BaseModel):
    """Architecture of `MemoryUNet`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    widths: Widths = (24, 48, 96, 160)
    """Channels at strides 2, 4, 8, 16."""
    num_labels: int = Field(default=4, ge=2, le=32)
    """Number of labels, including background."""


class MemoryUNetState(NamedTuple):
    """Recurrent state of `MemoryUNet`."""

    coarse: Float[Tensor, "B C3 h3 w3"]
    """Memory at stride 16; h3 and w3 are 1 before the first frame."""
    middle: Float[Tensor, "B C2 h2 w2"]
    """Memory at stride 8."""
    is_first: Bool[Tensor, "B 1 1 1"]
    """True before the first frame."""


class MemoryUNet(ResidualUNet, Segmenter):
    """Residual U-Net with gated memories at strides 8 and 16."""

    stride = 16
    config_class = MemoryUNetConfig

    def __init__(self, config: MemoryUNetConfig | None = None, **options: Any) -> None:
        super().__init__(config, **options)
        _, _, w2, w3 = self.config.widths
        self.add_encoder(self.config.widths)
        self.memory_middle = GatedMemory(w2)
        self.memory_coarse = GatedMemory(w3)
        self.add_decoder(self.config.widths, self.num_labels)

    def init_state(self, batch_size: int) -> MemoryUNetState:
        """Zeros, broadcast to the size of the first frame."""
        weight = self.head.weight
        _, _, w2, w3 = self.config.widths
        return MemoryUNetState(
            weight.new_zeros(batch_size, w3, 1, 1),
            weight.new_zeros(batch_size, w2, 1, 1),
            torch.ones(batch_size, 1, 1, 1, dtype=torch.bool, device=weight.device),
        )

    def state_size(self, state: MemoryUNetState) -> tuple[int, int] | None:
        """(height, width) of the padded frames, or None before the first frame."""
        rows, columns = state.middle.shape[-2:]
        return None if rows == columns == 1 else (8 * rows, 8 * columns)

    def _step(
        self, frame: Float[Tensor, "B 1 H W"], state: MemoryUNetState
    ) -> tuple[Float[Tensor, "B K H W"], MemoryUNetState]:
        skip0, skip1, middle, coarse = self.encode(frame)
        middle = self.memory_middle.step(middle, state.middle, state.is_first)
        coarse = self.memory_coarse.step(coarse, state.coarse, state.is_first)
        logits = self.decode(skip0, skip1, middle, coarse)
        return logits, MemoryUNetState(coarse, middle, torch.zeros_like(state.is_first))

    def _forward(self, frames: Float[Tensor, "B T 1 H W"]) -> Float[Tensor, "B T K H W"]:
        batch, time = frames.shape[:2]
        state = self.init_state(batch)
        bptt_frames = self.bptt_frames if self.training else None
        skip0, skip1, middle, coarse = self.encode(frames.flatten(0, 1))
        middle = self.memory_middle(
            middle.unflatten(0, (batch, time)), state.middle, state.is_first, bptt_frames
        )
        coarse = self.memory_coarse(
            coarse.unflatten(0, (batch, time)), state.coarse, state.is_first, bptt_frames
        )
        logits = self.decode(skip0, skip1, middle.flatten(0, 1), coarse.flatten(0, 1))
        return logits.unflatten(0, (batch, time))

"""A recurrent baseline: a residual U-Net with a convolutional GRU at its coarsest map.

Encoder and decoder (`nn.unet`) process single frames and are those of `MemoryUNet`, narrower. Only
the recurrent unit (`nn.conv_gru`), at stride 16, joins frames.
"""

from typing import Any, NamedTuple

from jaxtyping import Float
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from echoseg.models.segmenter import Segmenter
from echoseg.nn.unet import ResidualUNet, Widths
from experiments.networks.conv_gru import ConvGRU


class ConvGRUUNetConfig(BaseModel):
    """Architecture of `ConvGRUUNet`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    widths: Widths = (24, 40, 80, 112)
    """Channels at strides 2, 4, 8, 16; the default size is close to `MemoryUNet`."""
    num_labels: int = Field(default=4, ge=2, le=32)
    """Number of labels, including background."""


class ConvGRUUNetState(NamedTuple):
    """Recurrent state of `ConvGRUUNet`."""

    memory: Float[Tensor, "B C h w"]
    """Hidden map at stride 16; `B 1 1 1` of zeros before the first frame."""


class ConvGRUUNet(ResidualUNet, Segmenter):
    """Residual U-Net with a convolutional GRU at stride 16."""

    stride = 16
    config_class = ConvGRUUNetConfig

    def __init__(self, config: ConvGRUUNetConfig | None = None, **options: Any) -> None:
        super().__init__(config, **options)
        self.add_encoder(self.config.widths)
        self.recurrence = ConvGRU(self.config.widths[-1])
        self.add_decoder(self.config.widths, self.num_labels)

    def init_state(self, batch_size: int) -> ConvGRUUNetState:
        """Zeros, broadcast to the size of the first frame."""
        return ConvGRUUNetState(self.head.weight.new_zeros(batch_size, 1, 1, 1))

    def state_size(self, state: ConvGRUUNetState) -> tuple[int, int] | None:
        """(height, width) of the padded frames, or None before the first frame."""
        _, channels, rows, columns = state.memory.shape
        is_first = channels == rows == columns == 1
        return None if is_first else (16 * rows, 16 * columns)

    def _step(
        self, frame: Float[Tensor, "B 1 H W"], state: ConvGRUUNetState
    ) -> tuple[Float[Tensor, "B K H W"], ConvGRUUNetState]:
        skip0, skip1, middle, coarse = self.encode(frame)
        memory = self.recurrence.step(coarse, state.memory)
        return self.decode(skip0, skip1, middle, memory), ConvGRUUNetState(memory)

    def _forward(self, frames: Float[Tensor, "B T 1 H W"]) -> Float[Tensor, "B T K H W"]:
        batch, time = frames.shape[:2]
        skip0, skip1, middle, coarse = self.encode(frames.flatten(0, 1))
        memory = self.recurrence(coarse.unflatten(0, (batch, time)), self.init_state(batch).memory)
        logits = self.decode(skip0, skip1, middle, memory.flatten(0, 1))  # (B * T, K, H, W)
        return logits.unflatten(0, (batch, time))

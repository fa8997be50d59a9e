"""The first MSSNet, kept so that checkpoints trained before its second version still load.

As `models.mssnet`, but with the guidance of `nn.guidance_v1` at stride 16 and a gated memory
(`nn.memory`) at stride 8, and none at stride 4. docs/method.md says what was wrong with it.
"""

from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Bool, Float
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from echoseg.models.segmenter import Segmenter
from echoseg.nn.blocks import ResidualBlock
from echoseg.nn.detail import FullSizeDetail
from echoseg.nn.guidance_v1 import GuidanceState, SpatiotemporalGuidance
from echoseg.nn.memory import GatedMemory
from echoseg.nn.mixing import Mixing, MixingBlock
from echoseg.nn.unet import ResidualUNet, Widths

SIZES: dict[str, Widths] = {
    "tiny": (16, 32, 64, 128),
    "small": (16, 32, 96, 192),
    "base": (24, 48, 128, 256),
}
"""Channels at strides 2, 4, 8 and 16."""


Memory = Literal["none", "gate", "features", "guidance"]
"""None; features by position; matched features; matched features and attention weights."""


class MSSNetV1Config(BaseModel):
    """Architecture of `MSSNetV1`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: Literal["tiny", "small", "base"] = "small"
    num_labels: int = Field(default=4, ge=1, le=32)
    """Number of labels, including background."""
    mixing: Mixing = "ssd"
    """Mixer of distant pixels of a frame; the others are for ablations."""
    memory: Memory = "guidance"
    """Memory carried from frame to frame; the others are for ablations."""
    detail: int = Field(default=0, ge=0, le=64)
    """Channels at full resolution (`nn.detail`); 0 predicts at stride 2 only."""


class MSSNetV1State(NamedTuple):
    """Recurrent state of `MSSNetV1`."""

    weights: Float[Tensor, "B heads N N"]
    """Attention weights at stride 16 (`nn.guidance`)."""
    embedding: Float[Tensor, "B N E"]
    """Embeddings by which tokens are matched."""
    features: Float[Tensor, "B N C"]
    """Temporal features at stride 16."""
    middle: Float[Tensor, "B C2 h2 w2"]
    """Gated memory at stride 8; `B C2 1 1` before the first frame or without one."""
    coarse: Float[Tensor, "B C3 h3 w3"]
    """Gated memory at stride 16; `B C3 1 1` before the first frame or without one."""
    is_first: Bool[Tensor, "B 1 1 1"]
    """True before the first frame."""

    @property
    def guidance(self) -> GuidanceState:
        """State of the guidance."""
        return GuidanceState(self.weights, self.embedding, self.features, self.is_first[..., 0])


class MSSNetV1(ResidualUNet, Segmenter):
    """State-space segmenter with spatiotemporal guidance."""

    stride = 16
    config_class = MSSNetV1Config

    def __init__(self, config: MSSNetV1Config | None = None, **options: Any) -> None:
        super().__init__(config, **options)
        widths = SIZES[self.config.size]
        _, _, w2, w3 = widths
        self.add_encoder(widths)
        self.encoder3 = nn.Sequential(
            ResidualBlock(w2, w3, stride=2),
            MixingBlock(w3, self.config.mixing),
            MixingBlock(w3, self.config.mixing),
        )
        memory = self.config.memory
        self.guidance = SpatiotemporalGuidance(
            w3, propagate=memory == "guidance", remember=memory in ("features", "guidance")
        )
        self.memory_middle = None if memory == "none" else GatedMemory(w2)
        self.memory_coarse = GatedMemory(w3) if memory == "gate" else None
        self.add_decoder(widths, self.num_labels)
        self.detail = None
        if self.config.detail:
            self.detail = FullSizeDetail(widths[0], self.config.detail, self.num_labels)

    def init_state(self, batch_size: int) -> MSSNetV1State:
        """State before the first frame, broadcast to its size."""
        guidance = self.guidance.init_state(batch_size)
        _, _, w2, w3 = SIZES[self.config.size]
        middle, coarse = (self.head.weight.new_zeros(batch_size, w, 1, 1) for w in (w2, w3))
        return MSSNetV1State(*guidance[:3], middle, coarse, guidance.is_first[..., None])

    def state_size(self, state: MSSNetV1State) -> tuple[int, int] | None:
        """(height, width) of the padded frames, or None before the first frame."""
        rows, columns = state.middle.shape[-2:]
        return None if rows == columns == 1 else (8 * rows, 8 * columns)

    def _join(
        self,
        middle: Float[Tensor, "B C2 h2 w2"],
        coarse: Float[Tensor, "B C3 h3 w3"],
        state: MSSNetV1State,
    ) -> tuple[Float[Tensor, "B C2 h2 w2"], Float[Tensor, "B C3 h3 w3"], MSSNetV1State]:
        """Join the maps of one frame with the state."""
        coarse, guidance = self.guidance.step(coarse, state.guidance)
        kept_middle, kept_coarse = state.middle, state.coarse
        if self.memory_middle is not None:
            middle = kept_middle = self.memory_middle.step(middle, kept_middle, state.is_first)
        if self.memory_coarse is not None:
            coarse = kept_coarse = self.memory_coarse.step(coarse, kept_coarse, state.is_first)
        is_first = torch.zeros_like(state.is_first)
        return middle, coarse, MSSNetV1State(*guidance[:3], kept_middle, kept_coarse, is_first)

    def _join_all(
        self, middle: Float[Tensor, "B T C2 h2 w2"], coarse: Float[Tensor, "B T C3 h3 w3"]
    ) -> tuple[Float[Tensor, "B T C2 h2 w2"], Float[Tensor, "B T C3 h3 w3"]]:
        """Join the maps of a clip, from the first frame to the last."""
        state, joined = self.init_state(len(middle)), []
        for index, frame in enumerate(zip(middle.unbind(1), coarse.unbind(1), strict=True)):
            *maps, state = self._join(*frame, self.cut(state, index))
            joined.append(maps)
        middles, coarses = zip(*joined, strict=True)
        return torch.stack(middles, 1), torch.stack(coarses, 1)

    def _step(
        self, frame: Float[Tensor, "B 1 H W"], state: MSSNetV1State
    ) -> tuple[Float[Tensor, "B K H W"], MSSNetV1State]:
        skip0, skip1, middle, coarse = self.encode(frame)
        middle, coarse, state = self._join(middle, coarse, state)
        return self._predict(frame, skip0, skip1, self.decoder2(coarse, middle)), state

    def _predict(
        self,
        frames: Float[Tensor, "N 1 H W"],
        skip0: Float[Tensor, "N C0 H//2 W//2"],
        skip1: Float[Tensor, "N C1 H//4 W//4"],
        decoded: Float[Tensor, "N C2 H//8 W//8"],
    ) -> Float[Tensor, "N K H W"]:
        """Compute logits from the maps at strides 2 and 4 and the decoder's at stride 8."""
        maps = self.decode_features(skip0, skip1, decoded)
        logits = self.predict_logits(maps)
        return logits if self.detail is None else logits + self.detail(frames, maps)

    def _forward(self, frames: Float[Tensor, "B T 1 H W"]) -> Float[Tensor, "B T K H W"]:
        batch, time = frames.shape[:2]
        skip0, skip1, *maps = self.encode(frames.flatten(0, 1))
        middle, coarse = (each.unflatten(0, (batch, time)) for each in maps)  # (B, T, C, h, w)
        middle, coarse = self._join_all(middle, coarse)
        decoded = self.decoder2(coarse.flatten(0, 1), middle.flatten(0, 1))  # (B * T, C2, h2, w2)
        logits = self._predict(frames.flatten(0, 1), skip0, skip1, decoded)
        return logits.unflatten(0, (batch, time))  # (B, T, K, H, W)

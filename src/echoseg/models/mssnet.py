"""MSSNet: a state-space segmenter guided by the attention of past frames.

Each frame goes through a small convolutional encoder (strides 2, 4, 8, 16) whose coarsest stage is
scanned in four directions by two state-space layers (`nn.scan2d`), so every pixel attends to the
whole frame at a cost linear in the number of tokens. The decoder has skips. Frames are joined in
it, at two places: at stride 8 by the guidance (`nn.guidance`), which carries features and
attention weights from frame to frame, and at stride 4 by a memory that moves with the guidance's
displacement (`nn.warp`), so that a hidden border is remembered. Where the past is carried, the
skip at stride 2 is damped by the same gate. Nothing looks ahead: streaming equals processing the
whole clip.

The published network (Apache-2.0, three files) has no state-space layer, no skips, guidance inside
triples of frames only, and sizes fixed to 10 frames of 256 px.
"""

from collections.abc import Iterable, Iterator
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Bool, Float
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn import functional

from echoseg.models.segmenter import Segmenter
from echoseg.nn.blocks import ResidualBlock
from echoseg.nn.detail import FullSizeDetail
from echoseg.nn.guidance import (
    FrameParts,
    GuidanceState,
    GuidedFrame,
    Memory,
    SpatiotemporalGuidance,
)
from echoseg.nn.mixing import Mixing, MixingBlock
from echoseg.nn.unet import ResidualUNet, Widths
from echoseg.nn.warp import WarpedMemory

SIZES: dict[str, Widths] = {
    "nano": (8, 24, 64, 128),
    "tiny": (16, 32, 64, 128),
    "small": (16, 32, 96, 192),
    "base": (24, 48, 128, 256),
}
"""Channels at strides 2, 4, 8 and 16."""


class MSSNetConfig(BaseModel):
    """Architecture of `MSSNet`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: Literal["nano", "tiny", "small", "base"] = "small"
    """Widths; `nano` also has one state-space layer instead of two."""
    num_labels: int = Field(default=4, ge=1, le=32)
    """Number of labels, including background."""
    mixing: Mixing = "ssd"
    """Mixer of distant pixels of a frame; the others are for ablations."""
    memory: Memory = "features"
    """Memory carried from frame to frame (`nn.guidance.Memory`); all but `none` also have the
    memory at stride 4. `guidance` is the paper's form, which gains nothing measurable over the
    default (docs/results/mssnet.md)."""
    detail: int = Field(default=0, ge=0, le=64)
    """Channels at full resolution (`nn.detail`); 0 predicts at stride 2 only."""


class MSSNetState(NamedTuple):
    """Recurrent state of `MSSNet`."""

    weights: Float[Tensor, "B h2 w2 P"]
    """Attention weights at stride 8 (`nn.guidance`); here and below, h = w = 1 before the first
    frame, and throughout where nothing of the kind is carried."""
    features: Float[Tensor, "B h2 w2 C2"]
    """Features at stride 8."""
    fine: Float[Tensor, "B h1 w1 C1"]
    """Memory at stride 4."""
    is_first: Bool[Tensor, "B 1 1 1"]
    """True before the first frame."""


class MSSNet(ResidualUNet, Segmenter):
    """State-space segmenter with spatiotemporal guidance."""

    stride = 16
    config_class = MSSNetConfig

    def __init__(self, config: MSSNetConfig | None = None, **options: Any) -> None:
        super().__init__(config, **options)
        widths = SIZES[self.config.size]
        _, w1, w2, w3 = widths
        self.add_encoder(widths)
        self.encoder3 = nn.Sequential(
            ResidualBlock(w2, w3, stride=2),
            *(MixingBlock(w3, self.config.mixing) for _ in range(1 + (self.config.size != "nano"))),
        )
        self.remembers = self.config.memory != "none"
        self.guidance = SpatiotemporalGuidance(w2, self.config.memory)
        self.fine_memory = WarpedMemory(w1) if self.remembers else None
        self.add_decoder(widths, self.num_labels)
        self.detail = None
        if self.config.detail:
            self.detail = FullSizeDetail(widths[0], self.config.detail, self.num_labels)

    def init_state(self, batch_size: int) -> MSSNetState:
        """State before the first frame, broadcast to its size."""
        guidance = self.guidance.init_state(batch_size)
        fine = self.head.weight.new_zeros(batch_size, 1, 1, SIZES[self.config.size][1])
        return MSSNetState(guidance.weights, guidance.features, fine, guidance.is_first)

    def state_size(self, state: MSSNetState) -> tuple[int, int] | None:
        """(height, width) of the padded frames, or None before the first frame."""
        rows, columns = state.fine.shape[1:3]
        return None if rows == columns == 1 else (4 * rows, 4 * columns)

    def carry_logits(
        self, frames: Float[Tensor, "B T 1 H W"]
    ) -> tuple[Float[Tensor, "B T K H W"], list[Float[Tensor, "B T _ _"]]]:
        """Segment a clip as `forward` does; returns the logits of the carry gates too.

        A gate says how much of a place comes from the past: sigmoid(logit), on the first frame 0
        whatever the logit. The list has the gates at strides 8 and 4 of the padded frames; it is
        empty with `memory="none"`.

        Raises:
            ModelError: If the clip has another shape or dtype.
        """
        self._check(frames, "B T 1 H W")
        logits, carries = self._segment(self._padded(frames))
        return self.crop(logits, frames), carries

    def _step(
        self, frame: Float[Tensor, "B 1 H W"], state: MSSNetState
    ) -> tuple[Float[Tensor, "B K H W"], MSSNetState]:
        skip0, skip1, middle, coarse = self.encode(frame)
        tokens = self.decoder2(coarse, middle).movedim(1, -1)  # (B, h2, w2, C2)
        windows = self.guidance.windows(tokens)
        past = GuidanceState(state.weights, state.features, state.is_first)
        guided, guidance = self.guidance.step(self.guidance.prepare(tokens, windows), past, windows)
        fine = self.decoder1(guided.features.movedim(-1, 1), skip1)  # (B, C1, h1, w1)
        memory, carry = state.fine, None
        if self.fine_memory is not None:
            z = fine.movedim(1, -1)
            memory, carry, _ = self.fine_memory.step(z, memory, _hints(guided), state.is_first)
            fine = memory.movedim(-1, 1)
        logits = self._predict(frame, skip0, fine, carry)
        return logits, MSSNetState(guidance.weights, guidance.features, memory, guidance.is_first)

    def _forward(self, frames: Float[Tensor, "B T 1 H W"]) -> Float[Tensor, "B T K H W"]:
        return self._segment(frames)[0]

    def _segment(
        self, frames: Float[Tensor, "B T 1 H W"]
    ) -> tuple[Float[Tensor, "B T K H W"], list[Float[Tensor, "B T _ _"]]]:
        """Compute logits and carry logits; only what joins frames goes frame by frame."""
        batch, time = frames.shape[:2]
        flat = frames.flatten(0, 1)
        skip0, skip1, middle, coarse = self.encode(flat)
        guided = self._guide(self.decoder2(coarse, middle).movedim(1, -1), batch)
        fine = self.decoder1(guided.features.movedim(-1, 1), skip1)  # (B * T, C1, h1, w1)
        carry, carries = None, []
        if self.fine_memory is not None:
            maps = (fine.movedim(1, -1), _hints(guided))
            fine, carry, logits = self._remember(self.fine_memory, maps, batch)
            fine = fine.movedim(-1, 1)
            carries = [each[..., 0].unflatten(0, (batch, time)) for each in (guided.carry, logits)]
        logits = self._predict(flat, skip0, fine, carry)
        return logits.unflatten(0, (batch, time)), carries  # (B, T, K, H, W)

    def _guide(self, tokens: Float[Tensor, "N h2 w2 C2"], batch: int) -> GuidedFrame:
        """Guide the maps of clips, from the first frame to the last."""
        windows = self.guidance.windows(tokens)
        state, outputs = self.guidance.init_state(batch), []
        for index, parts in enumerate(_frames(self.guidance.prepare(tokens, windows), batch)):
            guided, state = self.guidance.step(FrameParts(*parts), self.cut(state, index), windows)
            outputs.append(guided)
        return GuidedFrame(*_clips(outputs))

    def _remember(
        self, memory: WarpedMemory, maps: tuple[Tensor, Tensor], batch: int
    ) -> tuple[Tensor, ...]:
        """Run the memory at stride 4 over features and hints of clips, `B*T h1 w1 ...`."""
        start, outputs = self.init_state(batch), []
        state = (start.fine, start.is_first)
        for index, (z, hints) in enumerate(_frames(maps, batch)):
            past, is_first = self.cut(state, index)
            outputs.append(memory.step(z, past, hints, is_first))
            state = (outputs[-1][0], torch.zeros_like(is_first))
        return _clips(outputs)

    def _predict(
        self,
        frames: Float[Tensor, "N 1 H W"],
        skip0: Float[Tensor, "N C0 H//2 W//2"],
        fine: Float[Tensor, "N C1 H//4 W//4"],
        carry: Float[Tensor, "N H//4 W//4 1"] | None,
    ) -> Float[Tensor, "N K H W"]:
        """Compute logits from the maps at strides 2 and 4 and the carry gate at stride 4."""
        if carry is not None:  # where the past is shown, the frame's own edges are not
            skip0 = skip0 * _twice(1 - carry)
        maps = self.decoder0(fine, skip0)
        logits = self.predict_logits(maps)
        return logits if self.detail is None else logits + self.detail(frames, maps)


def _hints(guided: GuidedFrame) -> Float[Tensor, "N h1 w1 3"]:
    """Displacement in cells at stride 4, and the logits of the carry gate there."""
    return _twice(torch.cat([2 * guided.displacement, guided.carry], -1)).movedim(1, -1)


def _twice(x: Float[Tensor, "B h w C"]) -> Float[Tensor, "B C h1 w1"]:
    """Interpolate a map to twice its size."""
    return functional.interpolate(x.movedim(-1, 1), scale_factor=2.0, mode="bilinear")


def _frames(maps: Iterable[Tensor], batch: int) -> Iterator[tuple[Tensor, ...]]:
    """Maps of clips, `B*T ...`, frame by frame."""
    return zip(*(each.unflatten(0, (batch, -1)).unbind(1) for each in maps), strict=True)


def _clips(outputs: Iterable[Iterable[Tensor]]) -> tuple[Tensor, ...]:
    """Outputs of each frame, `B ...`, as maps of clips, `B*T ...`."""
    return tuple(torch.stack(each, 1).flatten(0, 1) for each in zip(*outputs, strict=True))

"""GDKVM: past frames and their masks in a key-value association, corrected by the delta rule.

With f_t a frame's features at stride 16 and k_t their keys (`nn.delta_memory`):

    x_t = f_t + fusion(k_t, f_t) + W_o S_(t-1) k_t       what the past answers at this frame's keys
    z_t = decoder(x_t, skips)                            the frame's logits
    v_t = values(frame_t, softmax z_t, f_t)              what will be remembered: picture and mask
    S_t = alpha_t S_(t-1) (I - beta_t k k^T) + beta_t v k^T     over all places of the frame

No mask of the first frame is given: S is empty there, so its mask comes from the frame alone. The
state is `heads` matrices of 32 x 32 numbers at any size of frame and length of clip.

Kept from the paper: linear key-value association, the gated delta rule, key-pixel feature fusion,
values of picture and mask. Different: encoder and decoder are the small ones of `nn.unet`, from
scratch (there ResNet-50 and ResNet-18, trained before); gates are read off the features, not off
the state; the decay has its outer exp and a frame's write its 1 / N (the first public code has
neither); no sensory map, no object queries: one heart is all there is.

`orthogonal_steps` turns on the state update of its successor OSA.

Reference:
    Wang et al., "GDKVM: Echocardiography Video Segmentation via Spatiotemporal Key-Value Memory
    with Gated Delta Rule", ICCV 2025, https://github.com/wangrui2025/GDKVM; Wang, Wu and Qin,
    "OSA", CVPR 2026, https://github.com/wangrui2025/OSA. Written anew from papers and notes.
"""

from typing import Any, NamedTuple

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from echoseg.models.segmenter import Segmenter
from echoseg.nn.blocks import ResidualBlock
from echoseg.nn.delta_memory import ChannelAttention, DeltaMemory, KeyPixelFusion, Write
from echoseg.nn.unet import ResidualUNet, Widths


class GDKVMConfig(BaseModel):
    """Shape of a `GDKVM`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    widths: Widths = (24, 48, 96, 160)
    """Channels at strides 2, 4, 8, 16."""
    value_widths: Widths = (16, 24, 48, 96)
    """The same of the network that makes values of picture and mask."""
    num_labels: int = Field(default=4, ge=1, le=32)
    """Labels told apart, background included."""
    num_heads: int = Field(default=4, ge=1, le=64)
    """Associations side by side."""
    key_channels: int = Field(default=32, ge=2, le=256)
    """Of a head's key."""
    value_channels: int = Field(default=32, ge=2, le=256)
    """Of a head's value."""
    write: Write = "block"
    """A frame's places written at once, one after another, or added up without the delta rule."""
    key_pixel_fusion: bool = True
    """Fuse keys and features before the decoder."""
    orthogonal_steps: int = Field(default=0, ge=0, le=20)
    """Steps that make the state orthogonal after each frame, as OSA's; 5 are enough, 0 is GDKVM."""


class GDKVMState(NamedTuple):
    """What a `GDKVM` carries from frame to frame."""

    memory: Tensor
    """The association, `B heads V D`; zeros before the first frame."""


class ValueEncoder(nn.Module):
    """Picture, mask and features -> values at stride 16."""

    def __init__(self, widths: Widths, num_labels: int, num_channels: int, num_values: int) -> None:
        super().__init__()
        w0, w1, w2, w3 = widths
        self.see = nn.Sequential(
            nn.Conv2d(1 + num_labels, w0, 5, 2, 2, bias=False),
            nn.BatchNorm2d(w0),
            nn.ReLU(inplace=True),
            ResidualBlock(w0, w1, stride=2),
            ResidualBlock(w1, w2, stride=2),
            ResidualBlock(w2, w3, stride=2),
        )
        self.fuse = ResidualBlock(w3 + num_channels, num_values)
        self.attend = ChannelAttention(num_values)
        self.out = nn.Conv2d(num_values, num_values, 1)

    def forward(self, frame: Tensor, logits: Tensor, features: Tensor) -> Tensor:
        """`B 1 H W`, `B K H W` and `B C h w` -> `B V h w`."""
        mask = logits.sigmoid() if logits.shape[1] == 1 else logits.softmax(1)
        seen = self.see(torch.cat([frame, mask], 1))
        return self.out(self.attend(self.fuse(torch.cat([seen, features], 1))))


class GDKVM(ResidualUNet, Segmenter):
    """The network; see the module."""

    stride = 16
    config_class = GDKVMConfig

    def __init__(self, config: GDKVMConfig | None = None, **options: Any) -> None:
        super().__init__(config, **options)
        width, heads = self.config.widths[-1], self.config.num_heads
        num_values = heads * self.config.value_channels
        self.add_encoder(self.config.widths)
        self.memory = DeltaMemory(
            width,
            num_heads=heads,
            key_channels=self.config.key_channels,
            value_channels=self.config.value_channels,
            write=self.config.write,
            orthogonal_steps=self.config.orthogonal_steps,
        )
        self.fusion = None
        if self.config.key_pixel_fusion:
            self.fusion = KeyPixelFusion(heads * self.config.key_channels, width)
        self.recall = nn.Conv2d(num_values, width, 1)
        self.values = ValueEncoder(self.config.value_widths, self.num_labels, width, num_values)
        self.add_decoder(self.config.widths, self.num_labels)

    def init_state(self, batch_size: int) -> GDKVMState:
        """Return an empty association."""
        return GDKVMState(self.memory.init_state(batch_size))

    def _step(self, frame: Tensor, state: GDKVMState) -> tuple[Tensor, GDKVMState]:
        return self._segment(frame, self.encode(frame), state)

    def _forward(self, frames: Tensor) -> Tensor:
        # encoded at once, decoded one by one: a mask enters the memory before the next frame
        batch, time = frames.shape[:2]
        maps = (m.unflatten(0, (batch, time)).unbind(1) for m in self.encode(frames.flatten(0, 1)))
        state, found = self.init_state(batch), []
        for frame, *each in zip(frames.unbind(1), *maps, strict=True):
            logits, state = self._segment(frame, tuple(each), state)
            found.append(logits)
        return torch.stack(found, 1)

    def _segment(
        self, frame: Tensor, maps: tuple[Tensor, ...], state: GDKVMState
    ) -> tuple[Tensor, GDKVMState]:
        """Segment one frame, given its maps at strides 2, 4, 8 and 16."""
        skip0, skip1, middle, coarse = maps
        keys = self.memory.keys(coarse)
        recalled = self.recall(self.memory.read(keys, state.memory))
        joined = coarse + recalled
        if self.fusion is not None:
            joined = joined + self.fusion(keys, coarse)
        logits = self.decode(skip0, skip1, middle, joined)
        values = self.values(frame, logits, coarse)
        return logits, GDKVMState(self.memory.write(keys, values, coarse, state.memory))

"""GDKVM: a key-value memory of past frames and masks, updated by the gated delta rule.

With f_t a frame's features at stride 16 and k_t their keys (`nn.delta_memory`):

    x_t = f_t + fusion(k_t, f_t) + W_o S_(t-1) k_t       memory read at this frame's keys
    z_t = decoder(x_t, skips)                            the frame's logits
    v_t = values(frame_t, softmax z_t, f_t)              values of image and mask
    S_t = alpha_t S_(t-1) (I - beta_t k k^T) + beta_t v k^T     over all tokens of the frame

The first frame needs no mask: S is empty there. The state is `heads` matrices of 32 x 32 numbers at
any frame size and clip length.

As in the paper: linear key-value association, gated delta rule, key-pixel feature fusion, values of
image and mask. Different: encoder and decoder are the small ones of `nn.unet`, trained from scratch
(there pretrained ResNet-50 and ResNet-18); gates depend on the features, not on the state; the
decay has its outer exp and the write its 1 / N (the first public code has neither); no sensory
memory and no object queries, since there is one object.

`orthogonal_steps` enables the state update of its successor OSA, `prior_enhancement` its second
module, which cleans the features before keys and values are made of them.

Reference:
    Wang et al., "GDKVM: Echocardiography Video Segmentation via Spatiotemporal Key-Value Memory
    with Gated Delta Rule", ICCV 2025, https://github.com/wangrui2025/GDKVM; Wang, Wu and Qin,
    "OSA", CVPR 2026, https://github.com/wangrui2025/OSA. Implemented from the papers.
"""

from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from echoseg.models.segmenter import Segmenter
from echoseg.nn.blocks import ResidualBlock
from echoseg.nn.unet import ResidualUNet, Widths
from experiments.networks.delta_memory import ChannelAttention, DeltaMemory, KeyPixelFusion, Write
from experiments.networks.prior_enhancement import PriorEnhancement


class GDKVMConfig(BaseModel):
    """Architecture of `GDKVM`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    widths: Widths = (24, 48, 96, 160)
    """Channels at strides 2, 4, 8, 16."""
    value_widths: Widths = (16, 24, 48, 96)
    """The same of the value encoder."""
    num_labels: int = Field(default=4, ge=1, le=32)
    """Number of labels, including background."""
    num_heads: int = Field(default=4, ge=1, le=64)
    """Number of heads."""
    key_channels: int = Field(default=32, ge=2, le=256)
    """Channels of a head's key."""
    value_channels: int = Field(default=32, ge=2, le=256)
    """Channels of a head's value."""
    write: Write = "block"
    """Write a frame as one block, token by token, or as a sum without the delta rule."""
    key_pixel_fusion: bool = True
    """Fuse keys and features before the decoder."""
    orthogonal_steps: int = Field(default=0, ge=0, le=20)
    """Orthogonalisation steps after each frame, as in OSA (5 suffice); 0 is GDKVM."""
    prior_enhancement: bool = False
    """OSA's feature enhancement at stride 16 (`prior_enhancement`)."""


class GDKVMState(NamedTuple):
    """Recurrent state of `GDKVM`."""

    memory: Float[Tensor, "B heads V D"]
    """Associative memory; zeros before the first frame."""


class ValueEncoder(nn.Module):
    """Encoder of image, mask and features to values at stride 16."""

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

    def forward(
        self,
        frame: Float[Tensor, "B 1 H W"],
        logits: Float[Tensor, "B K H W"],
        features: Float[Tensor, "B C h w"],
    ) -> Float[Tensor, "B V h w"]:
        """Compute the values of one frame."""
        mask = logits.sigmoid() if logits.shape[1] == 1 else logits.softmax(1)
        encoded = self.see(torch.cat([frame, mask], 1))  # (B, C', h, w)
        return self.out(self.attend(self.fuse(torch.cat([encoded, features], 1))))


class GDKVM(ResidualUNet, Segmenter):
    """Segmenter with a key-value memory."""

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
        self.enhance = PriorEnhancement(width) if self.config.prior_enhancement else nn.Identity()
        self.fusion = None
        if self.config.key_pixel_fusion:
            self.fusion = KeyPixelFusion(heads * self.config.key_channels, width)
        self.recall = nn.Conv2d(num_values, width, 1)
        self.values = ValueEncoder(self.config.value_widths, self.num_labels, width, num_values)
        self.add_decoder(self.config.widths, self.num_labels)

    def init_state(self, batch_size: int) -> GDKVMState:
        """The empty memory."""
        return GDKVMState(self.memory.init_state(batch_size))

    def _step(
        self, frame: Float[Tensor, "B 1 H W"], state: GDKVMState
    ) -> tuple[Float[Tensor, "B K H W"], GDKVMState]:
        return self._segment(frame, self.encode(frame), state)

    def _forward(self, frames: Float[Tensor, "B T 1 H W"]) -> Float[Tensor, "B T K H W"]:
        # encoded at once, decoded one by one: a mask enters the memory before the next frame
        batch, time = frames.shape[:2]
        maps = (m.unflatten(0, (batch, time)).unbind(1) for m in self.encode(frames.flatten(0, 1)))
        state, outputs = self.init_state(batch), []
        for frame, *levels in zip(frames.unbind(1), *maps, strict=True):
            logits, state = self._segment(frame, tuple(levels), state)
            outputs.append(logits)
        return torch.stack(outputs, 1)

    def _segment(
        self, frame: Float[Tensor, "B 1 H W"], maps: tuple[Tensor, ...], state: GDKVMState
    ) -> tuple[Float[Tensor, "B K H W"], GDKVMState]:
        """Segment one frame from its maps at strides 2, 4, 8 and 16."""
        skip0, skip1, middle, coarse = maps
        coarse = self.enhance(coarse)
        keys = self.memory.keys(coarse)
        recalled = self.recall(self.memory.read(keys, state.memory))
        joined = coarse + recalled
        if self.fusion is not None:
            joined = joined + self.fusion(keys, coarse)
        logits = self.decode(skip0, skip1, middle, joined)
        values = self.values(frame, logits, coarse)
        return logits, GDKVMState(self.memory.write(keys, values, coarse, state.memory))

"""The published MSSNet network, as its code was released: a baseline, flaws and all.

A clip of 10 frames of 256 px goes through convolutions to 32 x 32 tokens of 32 numbers per frame.
Each overlapping triple of frames is one sequence for attention (`triples`); a frame's tokens are
the mean over the triples that contain it. Then the mean token of each frame asks its two
neighbours', and the answer multiplies all tokens of the frame. Three transposed convolutions bring
the map back to 256 px; there are no skips.

It looks ahead, so it cannot stream, and takes clips of one length and size. docs/method.md tells
what differs from the paper's words.

Reference:
    https://github.com/SSS666-klk/MSSNet, file SSG.py (Apache-2.0), commit 21403d6; rewritten, and
    equal to it with the same weights (`benchmarks/released_reference.py`).
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn import functional

from echoseg.errors import ModelError
from echoseg.models.clip_segmenter import ClipSegmenter
from experiments.networks.triples import ChannelNorm, NeighbourAttention, TripleAttention

ENCODER_WIDTHS = (32, 64, 128, 256)
"""Channels at strides 1, 2, 4, 8."""
TOKEN_WIDTH = 32
NUM_HEADS = 8
ALPHA = 0.5
"""Share of a frame's attention logits that the next frame's get."""
NECK_WIDTH = 256
UP_WIDTHS = (64, 16)


class MSSNetReleasedConfig(BaseModel):
    """Shape of an `MSSNetReleased`.

    The release knows only 10 frames of 256 px and one label. Other values make a network of the
    same parts that the release does not have: say so beside its numbers.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    num_frames: int = Field(default=10, ge=3, le=64)
    """Frames of a clip; it takes no other number."""
    image_size: int = Field(default=256, ge=16, le=512, multiple_of=8)
    """Side of a frame in pixels; it takes no other size."""
    num_labels: int = Field(default=4, ge=1, le=32)
    """Number of labels, background included; the release has 1, a foreground logit."""
    attention: Literal["released", "fused"] = "released"
    """As the release computes it, or the same values in less time and memory."""


def _conv_pair(in_channels: int, out_channels: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels in (in_channels, out_channels):
        layers += [
            nn.Conv2d(channels, out_channels, 3, 1, 1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers)


class MSSNetReleased(ClipSegmenter):
    """The published network, as released."""

    stride = 8
    config_class = MSSNetReleasedConfig

    def __init__(self, config: MSSNetReleasedConfig | None = None, **options: Any) -> None:
        super().__init__(config, **options)
        self.num_frames, self.image_size = self.config.num_frames, self.config.image_size
        stages: list[nn.Module] = [_conv_pair(1, ENCODER_WIDTHS[0])]
        for narrow, wide in pairwise(ENCODER_WIDTHS):
            stages += [nn.MaxPool2d(2), _conv_pair(narrow, wide)]
        self.encoder = nn.Sequential(*stages)
        self.to_tokens = nn.Linear(ENCODER_WIDTHS[-1], TOKEN_WIDTH)
        num_tokens = (self.config.image_size // self.stride) ** 2
        self.places = nn.Parameter(torch.empty(1, num_tokens, TOKEN_WIDTH))
        nn.init.trunc_normal_(self.places, std=0.02)
        fused = self.config.attention == "fused"
        self.spatial = TripleAttention(TOKEN_WIDTH, NUM_HEADS, ALPHA, fused=fused)
        self.spatial_norm = nn.LayerNorm(TOKEN_WIDTH)
        self.temporal = NeighbourAttention(TOKEN_WIDTH)
        self.neck = nn.Sequential(
            nn.Conv2d(TOKEN_WIDTH, NECK_WIDTH, 1, bias=False),
            ChannelNorm(NECK_WIDTH),
            nn.Conv2d(NECK_WIDTH, NECK_WIDTH, 3, 1, 1, bias=False),
            ChannelNorm(NECK_WIDTH),
        )
        self.up = nn.Sequential(
            nn.ConvTranspose2d(NECK_WIDTH, UP_WIDTHS[0], 2, 2),
            nn.GELU(),
            nn.ConvTranspose2d(*UP_WIDTHS, 2, 2),
            nn.GELU(),
            nn.ConvTranspose2d(UP_WIDTHS[1], self.num_labels, 2, 2),
        )

    def _forward(self, frames: Tensor) -> Tensor:
        # one clip at a time, as in the release, also in training: batch norm is over one clip
        return torch.stack([self._decode(self._encode(clip)) for clip in frames])

    def _encode(self, frames: Tensor) -> Tensor:
        """One clip, `T 1 H W` -> tokens `T N C`."""
        tokens = self.to_tokens(self.encoder(frames).flatten(2).transpose(1, 2)) + self.places
        triples = torch.stack([tokens[:-2], tokens[1:-1], tokens[2:]], 1)  # T-2 3 N C
        features = self.spatial_norm(self.spatial(triples.flatten(1, 2))).view_as(triples)
        spatial = _mean_over_triples(features)
        middle = self.temporal(spatial.mean(1))
        # the first and the last frame, so ED and ES, get their neighbour's
        temporal = torch.cat([middle[:1], middle, middle[-1:]])
        return spatial * temporal[:, None]

    def _decode(self, tokens: Tensor) -> Tensor:
        """Tokens `T N C` -> logits `T K H W`."""
        side = self.config.image_size // self.stride
        return self.up(self.neck(tokens.transpose(1, 2).unflatten(2, (side, side))))


def _mean_over_triples(features: Tensor) -> Tensor:
    """Return each frame's mean over the triples that hold it: `T-2 3 N C` -> `T N C`."""
    ones = torch.ones_like(features[:, :, :1, :1])

    def summed(parts: Tensor) -> Tensor:
        placed = [functional.pad(parts[:, i], (0, 0, 0, 0, i, 2 - i)) for i in range(3)]
        return placed[0] + placed[1] + placed[2]

    return summed(features) / summed(ones)


PUBLISHED_NAMES = {
    "enc.inc.double_conv": "encoder.0",
    "enc.down1.maxpool_conv.1.double_conv": "encoder.2",
    "enc.down2.maxpool_conv.1.double_conv": "encoder.4",
    "enc.down3.maxpool_conv.1.double_conv": "encoder.6",
    "enc.spatial_embed": "to_tokens",
    "enc.spatial_pos_embed": "places",
    "enc.SAP.norm1": "spatial.norm",
    "enc.SAP.qkv": "spatial.query_key_value",
    "enc.SAP.norm2": "spatial.mix.norm",
    "enc.SAP.mlp.fc1": "spatial.mix.widen",
    "enc.SAP.mlp.fc2": "spatial.mix.narrow",
    "enc.norm_s": "spatial_norm",
    "enc.TAP.q": "temporal.query",
    "enc.TAP.kv": "temporal.key_value",
    "enc.TAP.norm2": "temporal.mix.norm",
    "enc.TAP.mlp.fc1": "temporal.mix.widen",
    "enc.TAP.mlp.fc2": "temporal.mix.narrow",
    "dec.neck": "neck",
    "dec.up": "up",
}
"""Prefix of the published parameters' names -> prefix of ours; what follows is the same."""

PUBLISHED_UNUSED = ("enc.SAP.proj", "enc.TAP.proj", "enc.TAP.norm1", "enc.norm_t")
"""Layers that the release makes and never calls; not here."""


def published_name(name: str) -> str:
    """Return what a parameter of ours is called in the release."""
    for theirs, ours in PUBLISHED_NAMES.items():
        if name == ours or name.startswith(f"{ours}."):
            return theirs + name.removeprefix(ours)
    raise KeyError(name)


def from_published(weights: Mapping[str, Tensor]) -> MSSNetReleased:
    """Return the network with weights saved by the published code.

    | published | here |
    |---|---|
    | `enc.inc.double_conv.*` | `encoder.0.*` |
    | `enc.down{1,2,3}.maxpool_conv.1.double_conv.*` | `encoder.{2,4,6}.*` |
    | `enc.spatial_embed.*`, `enc.spatial_pos_embed` | `to_tokens.*`, `places` |
    | `enc.SAP.norm1.*`, `.qkv.*` | `spatial.norm.*`, `spatial.query_key_value.*` |
    | `enc.SAP.norm2.*`, `.mlp.fc1.*`, `.mlp.fc2.*` | `spatial.mix.{norm,widen,narrow}.*` |
    | `enc.norm_s.*` | `spatial_norm.*` |
    | `enc.TAP.q.*`, `.kv.*` | `temporal.query.*`, `temporal.key_value.*` |
    | `enc.TAP.norm2.*`, `.mlp.fc1.*`, `.mlp.fc2.*` | `temporal.mix.{norm,widen,narrow}.*` |
    | `dec.neck.*`, `dec.up.*` | `neck.*`, `up.*` |
    | `enc.SAP.proj.*`, `enc.TAP.proj.*`, `enc.TAP.norm1.*`, `enc.norm_t.*` | never used: ignored |

    Args:
        weights: The published network's `state_dict()`. Number of labels and floating type are
            read off it.

    Raises:
        ModelError: If names or shapes are not the published network's.
    """
    bias = weights.get("dec.up.4.bias", torch.zeros(1))
    model = MSSNetReleased(MSSNetReleasedConfig(num_labels=bias.numel())).to(bias.dtype)
    ours = {name: published_name(name) for name in model.state_dict()}
    used = {name for name in weights if not name.startswith(PUBLISHED_UNUSED)}
    if odd := sorted(used ^ set(ours.values())):
        raise ModelError(
            f"weights must have the parameters of the published MSSNet, {odd[0]!r} is "
            f"{'unknown' if odd[0] in used else 'missing'}; give the state_dict of its class SSG"
        )
    try:
        model.load_state_dict({name: weights[theirs] for name, theirs in ours.items()})
    except RuntimeError as error:
        raise ModelError(
            "weights must have the shapes of the published MSSNet (10 frames, 256 px): "
            f"{str(error).splitlines()[-1].strip()}"
        ) from error
    return model

"""Global mixing of a feature map: a state-space scan, or one of its baselines.

x + mix(norm(x)), then x + feed_forward(norm(x)), as in a transformer's block.
"""

from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from echoseg.nn.scan2d import ScanSSD2d
from echoseg.nn.scans import ScanConfig

Mixing = Literal["ssd", "mamba1", "conv", "attention"]


class _Attention(nn.Module):
    """Softmax attention over all pixels; a depthwise convolution encodes position."""

    def __init__(self, num_channels: int, num_heads: int = 4) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.local = nn.Conv2d(num_channels, num_channels, 3, 1, 1, groups=num_channels)
        self.project = nn.Linear(num_channels, 3 * num_channels)
        self.out = nn.Linear(num_channels, num_channels)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        size = x.shape[2:]
        tokens = (x + self.local(x)).flatten(2).transpose(1, 2)  # (B, N, C)
        query, key, value = (
            part.unflatten(2, (self.num_heads, -1)).transpose(1, 2)
            for part in self.project(tokens).chunk(3, -1)
        )  # (B, heads, N, D)
        mixed = functional.scaled_dot_product_attention(query, key, value)
        return self.out(mixed.transpose(1, 2).flatten(2)).transpose(1, 2).unflatten(2, size)


def _convolution(num_channels: int) -> nn.Module:
    """Build a 7x7 depthwise and two pointwise convolutions."""
    return nn.Sequential(
        nn.Conv2d(num_channels, num_channels, 7, 1, 3, groups=num_channels),
        nn.Conv2d(num_channels, 2 * num_channels, 1),
        nn.SiLU(),
        nn.Conv2d(2 * num_channels, num_channels, 1),
    )


def _mixer(num_channels: int, mixing: Mixing) -> nn.Module:
    if mixing == "conv":
        return _convolution(num_channels)
    if mixing == "attention":
        return _Attention(num_channels)
    kind = "mamba2" if mixing == "ssd" else "mamba1"
    return ScanSSD2d(ScanConfig(num_channels=num_channels, kind=kind, chunk=32))


class MixingBlock(nn.Module):
    """One residual block of mixing and feed-forward.

    Args:
        num_channels: Channels of the map.
        mixing: The mixer.
    """

    def __init__(self, num_channels: int, mixing: Mixing = "ssd") -> None:
        super().__init__()
        self.norm = nn.LayerNorm(num_channels)
        self.mixer = _mixer(num_channels, mixing)
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(num_channels),
            nn.Linear(num_channels, 2 * num_channels),
            nn.GELU(),
            nn.Linear(2 * num_channels, num_channels),
        )

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        """Apply the block; the result is in channels-last memory format."""
        x = x.movedim(1, -1)  # (B, H, W, C)
        x = x + self.mixer(self.norm(x).movedim(-1, 1)).movedim(1, -1)
        return (x + self.feed_forward(x)).movedim(-1, 1)

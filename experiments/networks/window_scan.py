"""Four-directional state-space scans inside windows of several sizes.

The channels of the map are split among the window sizes. Each part is cut into squares of its
size, scanned in each (`nn.scan2d`) and reassembled; a window at least as large as the map scans it
whole. A depthwise convolution connects neighbouring windows, and a feed-forward mixes the parts:

    x <- x + local([scan in windows of 8 (n), scan in windows of 16 (n), ...]),   n = norm(x)
    x <- x + feed_forward(norm(x))

Reference:
    Yang et al., "MSV-Mamba", arXiv 2501.07120, the decoder's large-window multi-scale blocks; the
    window sizes and widths are ours.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from echoseg.nn.scan2d import ScanSSD2d
from echoseg.nn.scans import ScanConfig


def to_windows(x: Float[Tensor, "B C H W"], side: int) -> Float[Tensor, "Bwindows C {side} {side}"]:
    """Cut a map into windows; zeros pad the last row and column of windows."""
    rows, columns = x.shape[2:]
    x = functional.pad(x, (0, -columns % side, 0, -rows % side))
    x = x.unflatten(3, (-1, side)).unflatten(2, (-1, side))  # (B, C, h, side, w, side)
    return x.permute(0, 2, 4, 1, 3, 5).flatten(0, 2)


def from_windows(
    windows: Float[Tensor, "Bwindows C side side"], size: tuple[int, int]
) -> Float[Tensor, "B C {size[0]} {size[1]}"]:
    """Reassemble a map of the given size (rows, columns) from its windows."""
    side = windows.shape[-1]
    down, across = -(-size[0] // side), -(-size[1] // side)
    x = windows.unflatten(0, (-1, down, across)).permute(0, 3, 1, 4, 2, 5)
    return x.flatten(4, 5).flatten(2, 3)[:, :, : size[0], : size[1]]  # (B, C, H, W)


class WindowScan(nn.Module):
    """The block of the module's two equations.

    Args:
        num_channels: Channels of the map, a multiple of the number of window sizes.
        sides: Side of each window size, in pixels of the map.
    """

    def __init__(self, num_channels: int, sides: tuple[int, ...] = (8, 16)) -> None:
        super().__init__()
        if num_channels % len(sides):
            raise ValueError(
                f"num_channels must be a multiple of the {len(sides)} window sizes, got "
                f"{num_channels}"
            )
        self.sides = sides
        part = num_channels // len(sides)
        config = ScanConfig(num_channels=part, head_channels=part, chunk=64)
        self.norm = nn.LayerNorm(num_channels)
        self.scans = nn.ModuleList(ScanSSD2d(config) for _ in sides)
        self.local = nn.Sequential(
            nn.Conv2d(num_channels, num_channels, 3, 1, 1, groups=num_channels),
            nn.Conv2d(num_channels, num_channels, 1),
        )
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(num_channels),
            nn.Linear(num_channels, 2 * num_channels),
            nn.GELU(),
            nn.Linear(2 * num_channels, num_channels),
        )

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        """Apply the block."""
        parts = self.norm(x.movedim(1, -1)).movedim(-1, 1).chunk(len(self.sides), 1)
        scanned = [
            self._scan(scan, part, side)
            for scan, part, side in zip(self.scans, parts, self.sides, strict=True)
        ]
        x = x + self.local(torch.cat(scanned, 1))
        return x + self.feed_forward(x.movedim(1, -1)).movedim(-1, 1)

    def _scan(
        self, scan: nn.Module, x: Float[Tensor, "B C H W"], side: int
    ) -> Float[Tensor, "B C H W"]:
        size = (x.shape[2], x.shape[3])
        if side >= max(size):
            return scan(x)
        return from_windows(scan(to_windows(x, side)), size)

"""Four-way state-space scans inside large windows of a map, of several sizes side by side.

The map's channels are shared out among the window sizes. Each share is cut into squares of its
size, scanned four ways inside each (`nn.scan2d`) and put back; a size as large as the map, or
larger, scans it whole. A depthwise convolution carries over the windows' borders and a
feed-forward mixes the shares:

    x <- x + local([scan in windows of 8 (n), scan in windows of 16 (n), ...]),   n = norm(x)
    x <- x + feed_forward(norm(x))

Reference:
    Yang et al., "MSV-Mamba", arXiv 2501.07120, the decoder's large-window multi-scale blocks, whose
    sizes and widths no stored text tells: they are ours.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from echoseg.nn.scan2d import ScanSSD2d
from echoseg.nn.scans import ScanConfig


def to_windows(x: Tensor, side: int) -> Tensor:
    """`B C H W` -> `B*windows C side side`; zeros fill up the last row and column of windows."""
    rows, columns = x.shape[2:]
    x = functional.pad(x, (0, -columns % side, 0, -rows % side))
    x = x.unflatten(3, (-1, side)).unflatten(2, (-1, side))  # B C h side w side
    return x.permute(0, 2, 4, 1, 3, 5).flatten(0, 2)


def from_windows(windows: Tensor, size: tuple[int, int]) -> Tensor:
    """`B*windows C side side` -> `B C H W`, the inverse."""
    side = windows.shape[-1]
    down, across = -(-size[0] // side), -(-size[1] // side)
    x = windows.unflatten(0, (-1, down, across)).permute(0, 3, 1, 4, 2, 5)
    return x.flatten(4, 5).flatten(2, 3)[:, :, : size[0], : size[1]]


class WindowScan(nn.Module):
    """The module's two equations.

    Args:
        num_channels: Of the map; a multiple of the number of sizes.
        sides: Of the windows, in places of the map.
    """

    def __init__(self, num_channels: int, sides: tuple[int, ...] = (8, 16)) -> None:
        super().__init__()
        if num_channels % len(sides):
            raise ValueError(
                f"num_channels must be a multiple of the {len(sides)} window sizes, got "
                f"{num_channels}"
            )
        self.sides = sides
        share = num_channels // len(sides)
        config = ScanConfig(num_channels=share, expand=1, head_channels=share, chunk=64)
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

    def forward(self, x: Tensor) -> Tensor:
        """`B C H W` -> the same."""
        shares = self.norm(x.movedim(1, -1)).movedim(-1, 1).chunk(len(self.sides), 1)
        found = [
            self._scanned(scan, share, side)
            for scan, share, side in zip(self.scans, shares, self.sides, strict=True)
        ]
        x = x + self.local(torch.cat(found, 1))
        return x + self.feed_forward(x.movedim(1, -1)).movedim(-1, 1)

    def _scanned(self, scan: nn.Module, x: Tensor, side: int) -> Tensor:
        size = (x.shape[2], x.shape[3])
        if side >= max(size):
            return scan(x)
        return from_windows(scan(to_windows(x, side)), size)

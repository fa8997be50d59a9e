"""The Mamba-2 block over a feature map, scanned along four ways through it.

The map is read as a text, row after row; as the same backwards; column after column; and as that
backwards. Every pixel so hears of every other. Each way has its own b, c, dt and decays; the four
run side by side, as four times the heads of one scan, and their outputs are added up.

    z, u, dt = W_in x
    x', b, c = silu(conv(u))                    depthwise, over the map; b, c, dt for each way
    y        = sum_w unread_w(scan_w(read_w(x', dt_w, b_w, c_w)))
    out      = W_out rmsnorm(y * silu(z))

Turning the map by 180 degrees exchanges each way with its reverse, transposing it exchanges rows
with columns. Mirroring one axis alone is no exchange: a row still follows the row above it.

Reference:
    Liu et al., "VMamba: Visual State Space Model", NeurIPS 2024, section 4.2 (the four ways); Dao
    and Gu, "Transformers are SSMs", ICML 2024, section 7 (the block).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from echoseg.nn.mixer import GatedNorm
from echoseg.nn.scans import SCANS, ScanConfig

NUM_WAYS = 4


def read_ways(maps: Tensor) -> Tensor:
    """`B H W 4 F` -> `B H*W 4 F`: rows, rows backwards, columns, columns backwards."""
    rows, rows_back, columns, columns_back = maps.unbind(3)
    ways = [
        rows.flatten(1, 2),
        rows_back.flatten(1, 2).flip(1),
        columns.transpose(1, 2).flatten(1, 2),
        columns_back.transpose(1, 2).flatten(1, 2).flip(1),
    ]
    return torch.stack(ways, 2)


def sum_ways(tokens: Tensor, size: tuple[int, int]) -> Tensor:
    """`B H*W 4 F` -> `B H W F`: back to the map, the four ways added up."""
    rows, rows_back, columns, columns_back = tokens.unbind(2)
    by_rows = (rows + rows_back.flip(1)).unflatten(1, size)
    by_columns = (columns + columns_back.flip(1)).unflatten(1, size[::-1])
    return by_rows + by_columns.transpose(1, 2)


class ScanSSD2d(nn.Module):
    """A Mamba-2 block over a map of any size, without the norm before and the residual around it.

    Raises:
        ValueError: `conv_size` is even, so that the convolution has no middle.
    """

    def __init__(self, config: ScanConfig) -> None:
        super().__init__()
        if config.conv_size % 2 == 0:
            raise ValueError(f"conv_size must be odd over a map, got {config.conv_size}")
        self.config = config
        inner = config.scan_channels
        written = NUM_WAYS * config.num_groups * config.state_size
        scan = SCANS[config.kind]
        dt_width = NUM_WAYS * config.num_groups * scan.dt_size(config)
        self.scan_widths = [inner, written, written]
        width, size = sum(self.scan_widths), config.conv_size
        self.widths = [inner, width, dt_width]
        self.project = nn.Linear(config.num_channels, sum(self.widths), bias=False)
        self.conv = (
            nn.Identity()
            if size == 1
            else nn.Conv2d(width, width, size, 1, size // 2, groups=width)
        )
        self.scan = scan(config, NUM_WAYS)
        self.norm = GatedNorm(inner)
        self.out = nn.Linear(inner, config.num_channels, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """`B C H W` -> `B C H W`, in channels-last memory."""
        z, mixed, dt = self.project(features.movedim(1, -1)).split(self.widths, -1)
        mixed = functional.silu(self.conv(mixed.movedim(-1, 1)).movedim(1, -1))
        x, b, c = mixed.split(self.scan_widths, -1)
        y = self._scan(x, b, c, dt)
        return self.out(self.norm(y, z)).movedim(-1, 1)

    def _scan(self, x: Tensor, b: Tensor, c: Tensor, dt: Tensor) -> Tensor:
        """Maps `B H W F` -> `B H W E`, the sum of the four ways."""
        size = (x.shape[1], x.shape[2])
        own = (each.unflatten(-1, (NUM_WAYS, -1)) for each in (b, c, dt))
        parts = [x[:, :, :, None].expand(-1, -1, -1, NUM_WAYS, -1), *own]
        tokens = read_ways(torch.cat(parts, -1))
        x, b, c, dt = tokens.split([part.shape[-1] for part in parts], -1)
        groups = (NUM_WAYS * self.config.num_groups, -1)
        b, c, dt = (each.flatten(2).unflatten(2, groups) for each in (b, c, dt))
        y, _ = self.scan(x.flatten(2), dt, b, c)
        return sum_ways(y.unflatten(2, (NUM_WAYS, -1)), size)

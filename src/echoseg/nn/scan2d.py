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

Of a map of few pixels the four ways are not read apart. With M_w the matrix of a way in the map's
own order (`nn.ssd.ssd_matrix`) and x, which they share,

    y = (sum_w M_w diag(dt_w) + skip_w) x

is one product a head, and equal.

Reference:
    Liu et al., "VMamba: Visual State Space Model", NeurIPS 2024, section 4.2 (the four ways); Dao
    and Gu, "Transformers are SSMs", ICML 2024, sections 3 (the matrix) and 7 (the block).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from echoseg.nn.mixer import GatedNorm
from echoseg.nn.scans import SCANS, ScanConfig, SSDScan
from echoseg.nn.ssd import at_least_float32, ssd_matrix, without_autocast

NUM_WAYS = 4
MOST_AS_MATRIX = 100
"""Up to so many pixels Mamba-2's scan is written out as a matrix; a matter of speed only."""


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


def befores(size: tuple[int, int], device: torch.device) -> Tensor:
    """Return for each way which pixels (last) come no later than which: `4 H*W H*W` of 0 and 1."""
    height, width = size
    rows = torch.arange(height * width, device=device)
    columns = rows % width * height + rows // width
    ways = [each[None, :] <= each[:, None] for each in (rows, -rows, columns, -columns)]
    return torch.stack(ways).float()


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
        few = x.shape[1] * x.shape[2] <= MOST_AS_MATRIX
        as_matrix = few and isinstance(self.scan, SSDScan)
        y = (self._scan_as_matrix if as_matrix else self._scan)(x, b, c, dt)
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

    def _scan_as_matrix(self, x: Tensor, b: Tensor, c: Tensor, dt: Tensor) -> Tensor:
        """As `_scan`, of few pixels."""
        scan, size = self.scan, (x.shape[1], x.shape[2])
        assert isinstance(scan, SSDScan)
        groups = self.config.num_groups
        dt, log_decay = scan.steps(dt)
        # B H W 4*G*F -> B 4 G H*W F
        b, c, dt, log_decay = (
            each.flatten(1, 2).unflatten(2, (NUM_WAYS, groups, -1)).permute(0, 2, 3, 1, 4)
            for each in (b, c, dt, log_decay)
        )
        before = befores(size, x.device)[:, None]
        matrix = (ssd_matrix(log_decay, b, c, before) * dt.mT[..., None, :]).sum(1)
        heads = x.flatten(1, 2).unflatten(2, (groups, -1, scan.head_channels))
        heads = at_least_float32(heads.permute(0, 2, 3, 1, 4))  # B G h H*W P
        skip = scan.skip.unflatten(0, (NUM_WAYS, groups, -1)).sum(0)
        with without_autocast(x):
            y = matrix @ heads + skip[..., None, None] * heads
        return y.permute(0, 3, 1, 2, 4).flatten(2).unflatten(1, size).to(x.dtype)

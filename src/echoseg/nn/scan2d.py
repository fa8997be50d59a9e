"""The Mamba-2 block over a feature map, scanned in four directions.

The map is read row by row, row by row backwards, column by column, and column by column backwards,
so every pixel receives information from every other. Each direction has its own b, c, dt and
decays; the four are computed together, as four times the heads of one scan, and summed.

    z, u, dt = W_in x
    x', b, c = silu(conv(u))                    depthwise, over the map; b, c, dt per direction
    y        = cross_merge(scan(cross_scan(x', dt, b, c)))
    out      = W_out rmsnorm(y * silu(z))

Rotating the map by 180 degrees exchanges each direction with its reverse, transposing it exchanges
rows with columns. Mirroring one axis alone is not a symmetry: a row still follows the row above.

A direction and its reverse share x. Mamba-2's four are therefore computed as two sequences, each
read in both ways at once (`nn.two_way`), which is equal.

Reference:
    Liu et al., "VMamba: Visual State Space Model", NeurIPS 2024, section 4.2 (cross-scan and
    cross-merge); Dao and Gu, "Transformers are SSMs", ICML 2024, section 7 (the block).
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from echoseg.nn.scans import SCANS, ScanConfig, SSDScan
from echoseg.nn.ssd import at_least_float32, without_autocast
from echoseg.nn.two_way import ssd_two_way

NUM_DIRECTIONS = 4
TWO_WAY = True
"""Whether Mamba-2's scans read rows and columns in both ways at once; affects speed only."""


def cross_scan(maps: Float[Tensor, "B H W 4 F"]) -> Float[Tensor, "B L 4 F"]:
    """Flatten maps along rows, rows backwards, columns, columns backwards."""
    rows, rows_back, columns, columns_back = maps.unbind(3)
    sequences = [
        rows.flatten(1, 2),
        rows_back.flatten(1, 2).flip(1),
        columns.transpose(1, 2).flatten(1, 2),
        columns_back.transpose(1, 2).flatten(1, 2).flip(1),
    ]  # (B, H * W, F) each
    return torch.stack(sequences, 2)


def cross_merge(
    tokens: Float[Tensor, "B L 4 F"], size: tuple[int, int]
) -> Float[Tensor, "B H W F"]:
    """Sum the four directions back on the map of the given size (rows, columns)."""
    rows, rows_back, columns, columns_back = tokens.unbind(2)
    by_rows = (rows + rows_back.flip(1)).unflatten(1, size)  # (B, H, W, F)
    by_columns = (columns + columns_back.flip(1)).unflatten(1, size[::-1])  # (B, W, H, F)
    return by_rows + by_columns.transpose(1, 2)


class GatedNorm(nn.Module):
    """y, z -> weight * rmsnorm(y * silu(z)) over the last dimension, computed in float32."""

    def __init__(self, num_channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(num_channels))

    def forward(self, y: Float[Tensor, "*B E"], z: Float[Tensor, "*B E"]) -> Float[Tensor, "*B E"]:
        """Gate and normalise; the result has the dtype of y."""
        gated = at_least_float32(y) * functional.silu(at_least_float32(z))
        weight = at_least_float32(self.weight)
        return functional.rms_norm(gated, weight.shape, weight, eps=1e-5).to(y.dtype)


class ScanSSD2d(nn.Module):
    """A Mamba-2 block over a map of any size, without norm before and residual around it."""

    def __init__(self, config: ScanConfig) -> None:
        super().__init__()
        self.config = config
        inner, written = config.num_channels, NUM_DIRECTIONS * config.state_size
        scan = SCANS[config.kind]
        self.scan_widths = [inner, written, written]
        width = sum(self.scan_widths)
        self.widths = [inner, width, NUM_DIRECTIONS * scan.dt_size(config)]
        self.project = nn.Linear(inner, sum(self.widths), bias=False)
        self.conv = nn.Conv2d(width, width, 3, 1, 1, groups=width)
        self.scan = scan(config, NUM_DIRECTIONS)
        self.norm = GatedNorm(inner)
        self.out = nn.Linear(inner, inner, bias=False)

    def forward(self, features: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        """Apply the block; the result is in channels-last memory format."""
        z, mixed, dt = self.project(features.movedim(1, -1)).split(
            self.widths, -1
        )  # (B, H, W, ...)
        mixed = functional.silu(self.conv(mixed.movedim(-1, 1)).movedim(1, -1))
        x, b, c = mixed.split(self.scan_widths, -1)
        two_way = TWO_WAY and isinstance(self.scan, SSDScan)
        y = (self._scan_two_way if two_way else self._scan)(x, b, c, dt).to(z.dtype)
        return self.out(self.norm(y, z)).movedim(-1, 1)

    def _scan(
        self,
        x: Float[Tensor, "B H W E"],
        b: Float[Tensor, "B H W _"],
        c: Float[Tensor, "B H W _"],
        dt: Float[Tensor, "B H W _"],
    ) -> Float[Tensor, "B H W E"]:
        """Scan in the four directions and sum."""
        size = (x.shape[1], x.shape[2])
        own = (part.unflatten(-1, (NUM_DIRECTIONS, -1)) for part in (b, c, dt))
        parts = [x[:, :, :, None].expand(-1, -1, -1, NUM_DIRECTIONS, -1), *own]
        tokens = cross_scan(torch.cat(parts, -1))  # (B, L, 4, F)
        x, b, c, dt = tokens.split([part.shape[-1] for part in parts], -1)
        y = self.scan(x.flatten(2), dt, b, c)  # (B, L, 4E)
        return cross_merge(y.unflatten(2, (NUM_DIRECTIONS, -1)), size)

    def _scan_two_way(
        self,
        x: Float[Tensor, "B H W E"],
        b: Float[Tensor, "B H W _"],
        c: Float[Tensor, "B H W _"],
        dt: Float[Tensor, "B H W _"],
    ) -> Float[Tensor, "B H W E"]:
        """Compute the same as `_scan`, without a copy of x per direction."""
        scan, size = self.scan, (x.shape[1], x.shape[2])
        assert isinstance(scan, SSDScan)
        x, b, c = (at_least_float32(part) for part in (x, b, c))
        parts = (part.unflatten(-1, (2, -1)).unbind(3) for part in (*scan.steps(dt), b, c))
        sequences = (_sequences(*part).unflatten(2, (2, -1)) for part in parts)
        with without_autocast(x):
            y = ssd_two_way(
                _sequences(x, x).unflatten(2, (-1, scan.head_channels)), *sequences
            )  # (2 * B, L, h, P)
        by_rows, by_columns = y.flatten(2).chunk(2)
        skip = scan.skip.unflatten(0, (NUM_DIRECTIONS, -1)).sum(0)
        y = by_rows.unflatten(1, size) + by_columns.unflatten(1, size[::-1]).transpose(1, 2)
        return y + skip[:, None].expand(-1, scan.head_channels).flatten() * x


def _sequences(
    rows: Float[Tensor, "B H W F"], columns: Float[Tensor, "B H W F"]
) -> Float[Tensor, "2*B L F"]:
    """Maps flattened along rows, then maps flattened along columns."""
    return torch.cat([rows.flatten(1, 2), columns.transpose(1, 2).flatten(1, 2)])

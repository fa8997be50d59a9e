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

For a map of few pixels the directions are not scanned separately. With M_w the matrix of a
direction in the map's own order (`nn.ssd.ssd_matrix`) and x, which they share,

    y = (sum_w M_w diag(dt_w) + skip_w) x

is one product per head, and equal.

Reference:
    Liu et al., "VMamba: Visual State Space Model", NeurIPS 2024, section 4.2 (cross-scan and
    cross-merge); Dao and Gu, "Transformers are SSMs", ICML 2024, sections 3 (the matrix) and 7 (the
    block).
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from echoseg.nn.scans import SCANS, ScanConfig, SSDScan
from echoseg.nn.ssd import at_least_float32, ssd_matrix, without_autocast

NUM_DIRECTIONS = 4
MAX_AS_MATRIX = 100
"""Maps of up to this many pixels use Mamba-2's matrix form; affects speed only."""


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


def causal_masks(size: tuple[int, int], device: torch.device) -> Float[Tensor, "4 L L"]:
    """Masks of the four directions: 1 where the pixel of the last axis is no later, else 0."""
    height, width = size
    rows = torch.arange(height * width, device=device)
    columns = rows % width * height + rows // width
    orders = (rows, -rows, columns, -columns)
    return torch.stack([order[None, :] <= order[:, None] for order in orders]).float()


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
        is_small = x.shape[1] * x.shape[2] <= MAX_AS_MATRIX
        as_matrix = is_small and isinstance(self.scan, SSDScan)
        y = (self._scan_as_matrix if as_matrix else self._scan)(x, b, c, dt)
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

    def _scan_as_matrix(
        self,
        x: Float[Tensor, "B H W E"],
        b: Float[Tensor, "B H W _"],
        c: Float[Tensor, "B H W _"],
        dt: Float[Tensor, "B H W _"],
    ) -> Float[Tensor, "B H W E"]:
        """Compute the same as `_scan` by one matrix product per head."""
        scan, size = self.scan, (x.shape[1], x.shape[2])
        assert isinstance(scan, SSDScan)
        dt, log_decay = scan.steps(dt)
        b, c, dt, log_decay = (
            part.flatten(1, 2).unflatten(2, (NUM_DIRECTIONS, -1)).transpose(1, 2)
            for part in (b, c, dt, log_decay)
        )  # (B, 4, L, ...)
        before = causal_masks(size, x.device)  # (4, L, L)
        matrix = (ssd_matrix(log_decay, b, c, before) * dt.mT[..., None, :]).sum(1)
        heads = x.flatten(1, 2).unflatten(2, (-1, scan.head_channels))
        heads = at_least_float32(heads.transpose(1, 2))  # (B, h, L, P)
        skip = scan.skip.unflatten(0, (NUM_DIRECTIONS, -1)).sum(0)  # (h)
        with without_autocast(x):
            y = matrix @ heads + skip[:, None, None] * heads
        return y.transpose(1, 2).flatten(2).unflatten(1, size).to(x.dtype)

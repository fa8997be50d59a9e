"""A state-space scan that skips across positions and goes on across frames.

A map is cut into S x S interleaved grids: positions (S i + a, S j + b) are one sequence, so
neighbours in a sequence are S pixels apart. Each grid is scanned in row order and backwards, and
the state at the end of a frame is the state before the next one:

    h_t,k = exp(dt a) h_t,k-1 + dt b x_t,k,   y_t,k = c h_t,k + skip x_t,k,   h_t,0 = h_(t-1),n

so with S = 2 a position receives, through the state, the same grid of every earlier frame. The scan
is causal over frames, hence streams; its state is of one size at any frame size. Positions that
fill up a grid neither write nor decay.

Reference:
    Wang, Yang, Zhang and Zhou, "Hierarchical Spatio-temporal Segmentation Network for Ejection
    Fraction Estimation in Echocardiography Videos" (HSS-Net), MICCAI 2025 (arXiv 2508.18681): the
    spatio-temporal cross scan, "skip scanning across frames and positions". Its code was never
    released and its order is not spelled out in what could be read; the grids above are our
    reading. Theirs looks ahead in time. The recurrence is that of Dao and Gu, "Transformers are
    SSMs", ICML 2024.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from echoseg.nn.scan2d import GatedNorm
from echoseg.nn.scans import ScanConfig, SSDScan
from echoseg.nn.ssd import at_least_float32, ssd_chunked

NUM_DIRECTIONS = 2


class CrossFrameScan(nn.Module):
    """The scan over the maps of a clip, with the projections and the gate of a Mamba-2 block.

    Args:
        num_channels: Channels of the map, a multiple of 32.
        skip: S, distance of neighbours in a sequence.
        state_size: State dimensions per channel.
    """

    def __init__(self, num_channels: int, skip: int = 2, state_size: int = 16) -> None:
        super().__init__()
        config = ScanConfig(num_channels=num_channels, state_size=state_size)
        self.skip_px = skip
        written = NUM_DIRECTIONS * state_size
        self.scan_widths = [num_channels, written, written]
        width = sum(self.scan_widths)
        self.widths = [num_channels, width, NUM_DIRECTIONS * SSDScan.dt_size(config)]
        self.project = nn.Linear(num_channels, sum(self.widths), bias=False)
        self.conv = nn.Conv2d(width, width, 3, 1, 1, groups=width)
        self.scan = SSDScan(config, NUM_DIRECTIONS)
        self.norm = GatedNorm(num_channels)
        self.out = nn.Linear(num_channels, num_channels, bias=False)

    def init_state(self, batch_size: int) -> Float[Tensor, "B S2 heads N P"]:
        """Zeros: the state before the first frame."""
        scan = self.scan
        empty = self.out.weight.new_zeros(
            batch_size, self.skip_px**2, scan.num_heads, scan.state_size, scan.head_channels
        )
        return at_least_float32(empty)

    def forward(
        self, maps: Float[Tensor, "B T C h w"], state: Float[Tensor, "B S2 heads N P"]
    ) -> tuple[Float[Tensor, "B T C h w"], Float[Tensor, "B S2 heads N P"]]:
        """Scan the frames of a clip in time order; one frame at a time gives the same.

        Args:
            maps: The maps.
            state: Before the first of these frames.

        Returns:
            The scanned maps, and the state after the last frame.
        """
        batch, time = maps.shape[:2]
        z, mixed, dt = self.project(maps.movedim(2, -1)).split(self.widths, -1)
        mixed = self.conv(mixed.flatten(0, 1).movedim(-1, 1)).movedim(1, -1)
        mixed = functional.silu(mixed).unflatten(0, (batch, time))  # (B, T, h, w, F)
        y, state = self._scan(mixed, dt, state)
        return self.out(self.norm(y, z)).movedim(-1, 2), state

    def _scan(
        self,
        mixed: Float[Tensor, "B T h w F"],
        dt: Float[Tensor, "B T h w R"],
        state: Float[Tensor, "B S2 heads N P"],
    ) -> tuple[Float[Tensor, "B T h w C"], Float[Tensor, "B S2 heads N P"]]:
        """Scan all grids in both directions, and sum the directions."""
        scan, size = self.scan, (mixed.shape[2], mixed.shape[3])
        batch, time = mixed.shape[:2]
        is_real = mixed.new_ones(batch, time, *size, NUM_DIRECTIONS)
        mixed, dt, is_real = (self._grids(part) for part in (mixed, dt, is_real))
        x, b, c = mixed.split(self.scan_widths, -1)
        x = x[..., None, :].expand(*x.shape[:-1], NUM_DIRECTIONS, -1)
        ways = (part.unflatten(-1, (NUM_DIRECTIONS, -1)) for part in (b, c, dt, is_real))
        # (B S2, T n, 2, ...): a grid is one sequence over all frames
        x, b, c, dt, is_real = (_both_ways(part) for part in (x, *ways))
        step, log_decay = scan.steps(dt.flatten(2))  # (B S2, T n, heads)
        real = is_real.expand_as(dt).flatten(2)
        heads = x.flatten(2).unflatten(2, (scan.num_heads, scan.head_channels))
        y, after = ssd_chunked(
            (step * real)[..., None] * heads, log_decay * real, b, c, state.flatten(0, 1)
        )
        y = (y + scan.skip[:, None] * heads).to(x.dtype).flatten(2)
        y = y.unflatten(2, (NUM_DIRECTIONS, -1)).unflatten(1, (time, -1))  # (B S2, T, n, 2, C)
        y = y[..., 0, :] + y[..., 1, :].flip(2)
        return self._map(y, size), after.unflatten(0, (batch, -1))

    def _grids(self, maps: Float[Tensor, "B T h w F"]) -> Float[Tensor, "BS2 T n F"]:
        """Cut maps into interleaved grids, filled up with zeros at the bottom and the right."""
        skip = self.skip_px
        below, right = (-side % skip for side in maps.shape[2:4])
        maps = functional.pad(maps, (0, 0, 0, right, 0, below))
        grids = maps.unflatten(3, (-1, skip)).unflatten(2, (-1, skip))  # (B, T, i, a, j, b, F)
        grids = grids.permute(0, 3, 5, 1, 2, 4, 6)  # (B, a, b, T, i, j, F)
        return grids.flatten(4, 5).flatten(0, 2)

    def _map(self, grids: Float[Tensor, "BS2 T n C"], size: tuple[int, int]) -> Tensor:
        """Undo `_grids`: `B T h w C`."""
        skip, (rows, columns) = self.skip_px, size
        grids = grids.unflatten(0, (-1, skip, skip))  # (B, a, b, T, n, C)
        maps = grids.unflatten(4, (-(-rows // skip), -1)).permute(0, 3, 4, 1, 5, 2, 6)
        return maps.flatten(4, 5).flatten(2, 3)[:, :, :rows, :columns]


def _both_ways(grids: Float[Tensor, "B T n 2 F"]) -> Float[Tensor, "B Tn 2 F"]:
    """The second direction's tokens of each frame backwards; frames stay in time order."""
    ways = torch.stack([grids[..., 0, :], grids[..., 1, :].flip(2)], 3)
    return ways.flatten(1, 2)

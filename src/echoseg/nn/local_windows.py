"""Products of every cell of a map with the cells of a window about it, as matrix products.

With a window of offsets d, |d_x|, |d_y| <= r:

    scores(q, k)(i, d) = q(i) . k(i + d)
    read(A, v)(i)      = sum_d A(i, d) v(i + d)

where i + d outside the map is the nearest cell inside, so every window is full at any size. Cells
of a block of a row share one matrix of keys, whose diagonals are the windows. Cost and memory are
linear in the number of cells.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

BLOCK = 16
"""Maximum number of cells of a row that share a matrix of keys."""


class LocalWindows:
    """The windows of a map of one size. Offsets go row by row, from (-r, -r) to (r, r).

    Args:
        height: Rows of the map.
        width: Columns of the map.
        radius: r.
        device: Device of the maps.
    """

    def __init__(self, height: int, width: int, radius: int, device: torch.device) -> None:
        self.num_blocks = -(-width // BLOCK)
        self.block = -(-width // self.num_blocks)
        self.side = 2 * radius + 1
        reach = torch.arange(self.block + 2 * radius, device=device) - radius
        starts = torch.arange(self.num_blocks, device=device) * self.block
        self.columns = (starts[:, None] + reach).clamp(0, width - 1).flatten()
        rows = torch.arange(height, device=device)[:, None]
        reach = torch.arange(self.side, device=device) - radius
        self.rows = (rows + reach).clamp(0, height - 1).flatten()

    def keys(self, x: Float[Tensor, "B H W C"]) -> Float[Tensor, "B H blocks M C"]:
        """Collect the M cells that the windows of each block cover."""
        x = x.index_select(2, self.columns).unflatten(2, (self.num_blocks, -1))
        x = x.index_select(1, self.rows).unflatten(1, (-1, self.side))  # (B, H, side, blocks, m, C)
        return x.transpose(2, 3).flatten(3, 4)  # (B, H, blocks, M, C)

    def scores(
        self, query: Float[Tensor, "B H W C"], keys: Float[Tensor, "B H blocks M C"]
    ) -> Float[Tensor, "B H W D"]:
        """Products of each cell with the cells of its window; `keys` are those of `self.keys`."""
        width, num_keys = query.shape[2], keys.shape[3]
        products = self._blocks(query) @ keys.transpose(3, 4)  # (B, H, blocks, block, M)
        # cell i of a block has its window i columns to the right: one more column per row skews it
        skewed = functional.pad(products.flatten(3), (0, self.block))
        windows = skewed.unflatten(3, (self.block, num_keys + 1))[..., :-1]
        windows = windows.unflatten(4, (self.side, -1))[..., : self.side]
        return windows.flatten(2, 3)[:, :, :width].flatten(3)  # (B, H, W, D)

    def read(
        self, weights: Float[Tensor, "B H W D"], keys: Float[Tensor, "B H blocks M C"]
    ) -> Float[Tensor, "B H W C"]:
        """Weighted sum over each cell's window; `keys` are those of the values."""
        width, num_keys = weights.shape[2], keys.shape[3]
        windows = self._blocks(weights).unflatten(4, (self.side, self.side))
        windows = functional.pad(windows, (0, num_keys // self.side - self.side)).flatten(4)
        skewed = functional.pad(windows, (0, 1)).flatten(3)[..., : self.block * num_keys]
        read = skewed.unflatten(3, (self.block, num_keys)).to(keys.dtype) @ keys
        return read.flatten(2, 3)[:, :, :width]  # (B, H, W, C)

    def _blocks(self, x: Float[Tensor, "B H W C"]) -> Float[Tensor, "B H blocks block C"]:
        """Cut the rows into blocks; the last one is filled up with zeros."""
        missing = self.num_blocks * self.block - x.shape[2]
        x = functional.pad(x, (0, 0, 0, missing)) if missing else x
        return x.unflatten(2, (self.num_blocks, self.block))

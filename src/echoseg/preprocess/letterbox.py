"""A picture in the network's square and back, without torch: two small sparse matrices a picture.

Bilinear interpolation is separable: a square is `R X C^T` with the weights of its rows in R and of
its columns in C. Shrinking averages, as torch's antialiased interpolation does (a triangle as wide
as the output's pixel); enlarging takes the two nearest pixels. `transforms` does the same in torch.
Sparse, since a row holds two weights or a few, and since products of full matrices would be shared
out to threads that wait for each other on a busy machine.
"""

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array


@dataclass(frozen=True, kw_only=True, slots=True)
class Letterbox:
    """How a picture was put into a square without changing its shape.

    Attributes:
        box: (top, left, bottom, right) of the part of the picture that was taken.
        scale: Network pixels per image pixel.
        top: Row of the square at which the picture begins.
        left: Column, the same.
        size: Side of the square.
    """

    box: tuple[int, int, int, int]
    scale: float
    top: int
    left: int
    size: int

    @property
    def inner_size(self) -> tuple[int, int]:
        """(rows, columns) that the picture covers inside the square."""
        rows, columns = self.box[2] - self.box[0], self.box[3] - self.box[1]
        return max(1, round(rows * self.scale)), max(1, round(columns * self.scale))


def letterbox_for(box: tuple[int, int, int, int], size: int) -> Letterbox:
    """Return how to put `box` (top, left, bottom, right) centred into a square of `size`."""
    rows, columns = box[2] - box[0], box[3] - box[1]
    scale = size / max(rows, columns)
    inner = round(rows * scale), round(columns * scale)
    return Letterbox(
        box=box, scale=scale, top=(size - inner[0]) // 2, left=(size - inner[1]) // 2, size=size
    )


class LetterboxResampler:
    """The way from pictures of one size into a letterbox's square, and back.

    Args:
        letterbox: Where the picture lies in the square.
        picture_size: (rows, columns) of the pictures.
    """

    def __init__(self, letterbox: Letterbox, picture_size: tuple[int, int]) -> None:
        self.letterbox, self.picture_size = letterbox, picture_size
        top, left, bottom, right = letterbox.box
        rows, columns = letterbox.inner_size
        self._rows_in = _weights(bottom - top, rows, averaged=True)
        self._columns_in = _weights(right - left, columns, averaged=True)
        self._rows_out = _weights(rows, bottom - top, averaged=False)
        self._columns_out = _weights(columns, right - left, averaged=False)

    def to_square(self, frame: np.ndarray) -> np.ndarray:
        """Return a float frame `H W` in the square, `S S` float32, black around."""
        letterbox = self.letterbox
        top, left, bottom, right = letterbox.box
        rows, columns = letterbox.inner_size
        square = np.zeros((letterbox.size, letterbox.size), np.float32)
        square[letterbox.top : letterbox.top + rows, letterbox.left : letterbox.left + columns] = (
            _both(
                self._rows_in, self._columns_in, frame[top:bottom, left:right].astype(np.float32)
            ).T
        )
        return square

    def from_square(self, logits: np.ndarray) -> np.ndarray:
        """Return the label map `H W` uint8 of logits `K S S` on the picture's grid, 0 outside."""
        letterbox = self.letterbox
        top, left, bottom, right = letterbox.box
        rows, columns = letterbox.inner_size
        inner = logits[
            :,
            letterbox.top : letterbox.top + rows,
            letterbox.left : letterbox.left + columns,
        ]
        mask = np.zeros(self.picture_size, np.uint8)
        target = mask[top:bottom, left:right].T  # `_outwards` gives transposed maps
        best = self._outwards(inner[0])
        for label in range(1, len(inner)):
            here = self._outwards(inner[label])
            target[here > best] = label
            np.maximum(best, here, out=best)
        return mask

    def _outwards(self, inner: np.ndarray) -> np.ndarray:
        return _both(self._rows_out, self._columns_out, inner)


def _both(rows: csr_array, columns: csr_array, picture: np.ndarray) -> np.ndarray:
    """Return `(R X C^T)^T`."""
    return columns @ np.ascontiguousarray((rows @ picture).T)


def _weights(num_in: int, num_out: int, *, averaged: bool) -> csr_array:
    """Return the weights `num_out num_in` of bilinear interpolation, pixel centres kept."""
    scale = num_in / num_out
    width = max(1.0, scale) if averaged else 1.0
    centres = (np.arange(num_out)[:, None] + 0.5) * scale
    if not averaged:
        centres = centres.clip(0.5, num_in - 0.5)
    away = np.abs(np.arange(num_in)[None] + 0.5 - centres) / width
    weights = np.maximum(0.0, 1.0 - away)
    return csr_array((weights / weights.sum(1, keepdims=True)).astype(np.float32))

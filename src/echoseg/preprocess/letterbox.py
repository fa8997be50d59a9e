"""Letterboxing without torch: a frame into the network's square, and logits back.

Bilinear interpolation is separable: the square is `R X C^T`, with the weights of rows in R and of
columns in C. Downscaling is antialiased as in torch (a triangle as wide as the output pixel);
upscaling uses the two nearest pixels. `letterbox_torch` does the same for batches in training. The
matrices are sparse: a row holds few weights, and dense products would be split over threads that
wait for each other on a busy machine.
"""

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

from echoseg.box import region_box

_PART_PX = 8
"""Parts of the square begin and end at its multiples, so that they are few."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Letterbox:
    """Placement of a picture in a square, aspect ratio kept.

    Attributes:
        box: (top, left, bottom, right) of the cropped part of the picture.
        scale: Network pixels per image pixel.
        top: First row of the picture in the square.
        left: First column of the picture in the square.
        size: Side of the square.
    """

    box: tuple[int, int, int, int]
    scale: float
    top: int
    left: int
    size: int

    @property
    def inner_size(self) -> tuple[int, int]:
        """(rows, columns) of the picture inside the square."""
        rows, columns = self.box[2] - self.box[0], self.box[3] - self.box[1]
        return max(1, round(rows * self.scale)), max(1, round(columns * self.scale))

    @property
    def inside(self) -> tuple[slice, slice]:
        """Rows and columns of the square that the picture takes."""
        rows, columns = self.inner_size
        return slice(self.top, self.top + rows), slice(self.left, self.left + columns)


def letterbox_for(box: tuple[int, int, int, int], size: int) -> Letterbox:
    """Placement of `box` (top, left, bottom, right), centred, in a square of `size` pixels."""
    rows, columns = box[2] - box[0], box[3] - box[1]
    scale = size / max(rows, columns)
    inner = round(rows * scale), round(columns * scale)
    return Letterbox(
        box=box, scale=scale, top=(size - inner[0]) // 2, left=(size - inner[1]) // 2, size=size
    )


class LetterboxResampler:
    """Resamples pictures of one size into the square of a letterbox, and logits back.

    Args:
        letterbox: Placement of the picture in the square.
        picture_size: (rows, columns) of the pictures.
    """

    def __init__(self, letterbox: Letterbox, picture_size: tuple[int, int]) -> None:
        self.letterbox, self.picture_size = letterbox, picture_size
        top, left, bottom, right = letterbox.box
        rows, columns = letterbox.inner_size
        self._rows_in = _weights(bottom - top, rows, antialias=True)
        self._columns_in = _weights(right - left, columns, antialias=True)
        self._rows_out = _Out(rows, bottom - top)
        self._columns_out = _Out(columns, right - left)

    def letterbox_frame(self, frame: np.ndarray) -> np.ndarray:
        """Float frame `H W` -> square `S S` float32, black around."""
        top, left, bottom, right = self.letterbox.box
        square = np.zeros((self.letterbox.size, self.letterbox.size), np.float32)
        part = frame[top:bottom, left:right].astype(np.float32)
        square[self.letterbox.inside] = _both(self._rows_in, self._columns_in, part).T
        return square

    def unletterbox(self, logits: np.ndarray) -> np.ndarray:
        """Logits `K S S` -> label map `H W` uint8 on the picture's grid, 0 outside the box."""
        top, left, bottom, right = self.letterbox.box
        inner = logits[:, *self.letterbox.inside]
        mask = np.zeros(self.picture_size, np.uint8)
        # where background leads in all pixels that are averaged, it leads in their mean
        heart = region_box(inner[1:].max(0) > inner[0])
        rows_here, rows_out = self._rows_out.part(heart[0])
        columns_here, columns_out = self._columns_out.part(heart[1])
        # `_both` gives transposed maps
        target = mask[top:bottom, left:right][rows_here, columns_here].T
        best = _both(rows_out, columns_out, inner[0])
        for label in range(1, len(inner)):
            here = _both(rows_out, columns_out, inner[label])
            target[here > best] = label
            np.maximum(best, here, out=best)
        return mask


def _both(rows: csr_array, columns: csr_array, picture: np.ndarray) -> np.ndarray:
    """`(R X C^T)^T`."""
    return columns @ np.ascontiguousarray((rows @ picture).T)


class _Out:
    """The weights of an axis from the square to the picture, and parts of them, each made once."""

    def __init__(self, num_in: int, num_out: int) -> None:
        self._weights = _weights(num_in, num_out, antialias=False)
        self._parts: dict[tuple[int, int], tuple[slice, csr_array]] = {}

    def part(self, pixels: slice) -> tuple[slice, csr_array]:
        """The pixels of the picture that may depend on these of the square, and their weights."""
        key = pixels.start // _PART_PX, -(-pixels.stop // _PART_PX)
        if key not in self._parts:
            reach = self._weights[:, _PART_PX * key[0] : _PART_PX * key[1]].sum(1)
            here = region_box(reach[:, None])[0]
            self._parts[key] = here, self._weights[here]
        return self._parts[key]


def _weights(num_in: int, num_out: int, *, antialias: bool) -> csr_array:
    """Weights `num_out num_in` of bilinear interpolation, pixel centres aligned."""
    scale = num_in / num_out
    width = max(1.0, scale) if antialias else 1.0
    centres = (np.arange(num_out)[:, None] + 0.5) * scale
    if not antialias:
        centres = centres.clip(0.5, num_in - 0.5)
    away = np.abs(np.arange(num_in)[None] + 0.5 - centres) / width
    weights = np.maximum(0.0, 1.0 - away)
    return csr_array((weights / weights.sum(1, keepdims=True)).astype(np.float32))

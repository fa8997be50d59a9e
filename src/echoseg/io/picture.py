"""A decoded picture as its container states it is shown: upright, with square pixels."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from echoseg.clip import ClipWarning

_ASPECT = (Fraction(1, 8), Fraction(8))
"""Plausible width of a pixel, in heights."""
_MIN_STRETCH = 0.01


def needs_stretch(aspect: Fraction | float | None) -> bool:
    """Whether pixels of this width, in heights, are not square; an implausible one counts as 1."""
    return bool(aspect) and _ASPECT[0] <= aspect <= _ASPECT[1] and abs(aspect - 1) > _MIN_STRETCH


def square_size(rows: int, columns: int, aspect: Fraction | float | None) -> tuple[int, int]:
    """(rows, columns) with square pixels: the side that is too short grows."""
    if not aspect or not needs_stretch(aspect):
        return rows, columns
    return (rows, round(columns * aspect)) if aspect > 1 else (round(rows / aspect), columns)


def square(frame: np.ndarray, aspect: Fraction | float | None) -> np.ndarray:
    """A frame `H W` or `H W 3` of any number type with square pixels, by linear interpolation.

    Args:
        frame: The frame.
        aspect: Width of its pixels in heights; None and implausible ones count as 1.
    """
    for axis, size in enumerate(square_size(frame.shape[0], frame.shape[1], aspect)):
        old = frame.shape[axis]
        if size != old:
            place = ((np.arange(size) + 0.5) * old / size - 0.5).clip(0, old - 1)
            low = place.astype(int)
            weight = (place - low).reshape((-1,) + (1,) * (frame.ndim - 1 - axis))
            near = frame.take(low, axis).astype(np.float32)
            far = frame.take((low + 1).clip(max=old - 1), axis)
            mixed = near + weight.astype(np.float32) * (far - near)
            frame = (np.rint(mixed) if frame.dtype.kind in "ui" else mixed).astype(frame.dtype)
    return frame


def square_geometry(
    spacing_mm: tuple[float, float] | None,
    box: tuple[int, int, int, int] | None,
    size: tuple[int, int],
    aspect: Fraction | float | None,
) -> tuple[tuple[float, float] | None, tuple[int, int, int, int] | None]:
    """Pixel spacing and box of `Clip` after `square`, from those of the stored frames of a size."""
    rows, columns = square_size(*size, aspect)
    down, right = rows / size[0], columns / size[1]
    if spacing_mm is not None:
        spacing_mm = spacing_mm[0] / down, spacing_mm[1] / right
    if box is not None:
        top, left, bottom, end = box
        box = round(top * down), round(left * right), round(bottom * down), round(end * right)
    return spacing_mm, box


@dataclass(frozen=True, slots=True)
class Picture:
    """A PyAV frame.

    Attributes:
        frame: The frame, with the container's display matrix.
        aspect: Width of its pixels in heights (sample aspect ratio); None where it is unknown.
        has_clock: Whether its time stamp is the file's own.
    """

    frame: Any
    aspect: Fraction | None = None
    has_clock: bool = True

    @property
    def time_s(self) -> float | None:
        """Its time stamp."""
        return self.frame.time if self.has_clock else None

    def pixels(self) -> np.ndarray:
        """`H W` if it is grey, of 8 or 16 bits, else RGB `H W 3`; upright, with square pixels."""
        kind, is_deep = "rgb24", self.frame.format.components[0].bits > 8
        if self.frame.format.name.startswith("gray"):
            kind = "gray16le" if is_deep else "gray"
        # one thread: PyAV starts as many as there are cores anew for each frame
        pixels = square(self.frame.reformat(format=kind, threads=1).to_ndarray(), self.aspect)
        matrix = display_matrix(self.frame)
        if matrix is None:
            return pixels
        (a, b), (c, d) = matrix
        if abs(b) > abs(a):  # columns become rows
            pixels, a, d = pixels.swapaxes(0, 1), c, b
        return np.ascontiguousarray(pixels[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1])


def display_matrix(picture: Any) -> list[tuple[int, int]] | None:
    """Rows (a, b) and (c, d): (x, y) is shown at (ax + cy, bx + dy); None where as it is stored.

    ISO/IEC 14496-12, 6.2.2: nine 32-bit numbers a, b, u, c, d, v, x, y, w, as FFmpeg passes them
    on with the frame.
    """
    from av.sidedata.sidedata import SideDataContainer, Type

    # `picture.side_data` is kept by the picture, a cycle that outlives hundreds of pictures
    side_data = SideDataContainer(picture).get(Type.DISPLAYMATRIX)  # type: ignore[call-arg]
    if side_data is None:
        return None
    values = np.frombuffer(bytes(side_data), np.int32)
    rows = [(int(values[0]), int(values[1])), (int(values[3]), int(values[4]))]
    (a, b), (c, d) = rows
    is_identity = abs(a) >= abs(b) and a > 0 and d > 0
    return None if is_identity or not any((a, b, c, d)) else rows


def stretch_warning(aspect: Fraction | float | None) -> tuple[ClipWarning, ...]:
    """Say that a picture was stretched, where it was."""
    if not aspect or not needs_stretch(aspect):
        return ()
    message = (
        f"The file says that its pixels are {float(aspect):.3g} times as wide as high: frames were "
        "stretched to square pixels. A --spacing-mm (spacing_mm) is that of the stretched frames."
    )
    return (ClipWarning(code="stretched_frames", message=message),)

"""Pictures of a clip in color, next to its grey frames: JPEGs, held only where there is color."""

import io

import numpy as np

from echoseg.clip import ColourFrames
from echoseg.frame_store import EACH_BYTES, FrameStore

_QUALITY = 90
_SPREAD, _MIN_PIXELS = 32, 16
"""Difference of a pixel's channels that is colour, and how many such pixels are needed."""
_STEP = (2, 3)
"""Rows and columns between pixels that are looked at."""


class ColourSink:
    """Takes the pictures of a clip one by one while it is read."""

    def __init__(self) -> None:
        self._ends: list[int] = []
        self._store = FrameStore(EACH_BYTES)
        self._size, self._length = (0, 0), 0

    def add(self, frame: np.ndarray) -> None:
        """Add a picture, `H W` or `H W 3` uint8."""
        self._size = frame.shape[0], frame.shape[1]
        if frame.ndim == 3 and has_colour(frame):
            from PIL import Image

            buffer = io.BytesIO()
            picture = Image.fromarray(np.ascontiguousarray(frame))
            picture.save(buffer, "JPEG", quality=_QUALITY, subsampling=0)  # thin lines keep theirs
            self._store.add(np.frombuffer(buffer.getbuffer(), np.uint8))
            self._length += buffer.tell()
        self._ends.append(self._length)

    def finish(self, frames: np.ndarray) -> ColourFrames | None:
        """Those of the grey frames `T H W` of a clip; None where they do not fit, or are grey."""
        with self._store as store:
            if not self._length or (len(self._ends), *self._size) != frames.shape:
                return None
            return ColourFrames(frames=frames, data=store.array(), ends=tuple(self._ends))


def has_colour(frame: np.ndarray) -> bool:
    """Whether a picture `H W 3` has more colour than a lossy grey one."""
    part = frame[:: _STEP[0], :: _STEP[1]]
    return int(np.count_nonzero(channel_spread(part) > _SPREAD)) >= _MIN_PIXELS


def channel_spread(frame: np.ndarray) -> np.ndarray:
    """By how much the channels of `H W 3` uint8 differ, `H W`."""
    red, green, blue = frame[..., 0], frame[..., 1], frame[..., 2]
    highest = np.maximum(np.maximum(red, green), blue)
    return highest - np.minimum(np.minimum(red, green), blue)

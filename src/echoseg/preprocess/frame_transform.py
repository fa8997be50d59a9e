"""What the network is shown of a picture, and its answer on the picture's grid, without torch."""

import numpy as np

from echoseg.preprocess.letterbox import LetterboxResampler, letterbox_for
from echoseg.preprocess.sector import Sector


class FrameTransform:
    """Frames of one size, cropped to a sector, blanked outside it, brightened.

    Args:
        picture_size: (rows, columns) of the frames.
        size_px: Side of the network's square.
        sector: Where the ultrasound is; the whole picture by default.
        gain: Factor on its brightness.
    """

    def __init__(
        self,
        picture_size: tuple[int, int],
        size_px: int,
        *,
        sector: Sector | None = None,
        gain: float = 1.0,
    ) -> None:
        box = sector.box if sector else (0, 0, *picture_size)
        visible = sector.mask if sector else np.ones(picture_size, bool)
        self._grid = LetterboxResampler(letterbox_for(box, size_px), picture_size)
        self._factor = visible * np.float32(gain / 255)

    def show(self, frame: np.ndarray) -> np.ndarray:
        """Return a frame `H W` uint8 as the network takes it, `1 1 S S` float32 in [0, 1]."""
        return self._grid.to_square(frame * self._factor).clip(0, 1)[None, None]

    def read(self, logits: np.ndarray) -> np.ndarray:
        """Return the label map `H W` uint8 of logits `1 K S S`."""
        return self._grid.from_square(logits[0])

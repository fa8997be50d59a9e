"""From a frame to the network's input, and from logits to a mask on its grid, without torch."""

import numpy as np

from echoseg.preprocess.letterbox import LetterboxResampler, letterbox_for
from echoseg.preprocess.sector import Sector, box_slices


class FrameTransform:
    """Crops frames to the sector, blanks them outside it, scales brightness, letterboxes them.

    Args:
        picture_size: (rows, columns) of the frames.
        size_px: Side of the network's square.
        sector: The ultrasound sector; the whole picture by default.
        gain: Factor on the brightness.
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
        self._resampler = LetterboxResampler(letterbox_for(box, size_px), picture_size)
        self._traces = [box_slices(box) for box in sector.trace_boxes] if sector else []
        self._factor = visible * np.float32(gain / 255)

    def apply(self, frame: np.ndarray) -> np.ndarray:
        """Frame `H W` uint8 -> input of the network, `1 1 S S` float32 in [0, 1]."""
        return self._resampler.letterbox_frame(frame * self._factor).clip(0, 1)[None, None]

    def invert(self, logits: np.ndarray) -> np.ndarray:
        """Logits `1 K S S` -> label map `H W` uint8; nothing lies in a trace."""
        mask = self._resampler.unletterbox(logits[0])
        for trace in self._traces:
            mask[trace] = 0
        return mask

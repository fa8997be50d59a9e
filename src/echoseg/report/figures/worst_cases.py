"""Frames with the lowest scores: expert contours next to the predicted ones."""

from io import BytesIO

import numpy as np
from PIL import Image

from echoseg.report.figures.overlay import captioned_tile

_SIDE_PX = 300


def case_png(frame: np.ndarray, reference: np.ndarray, predicted: np.ndarray, words: str) -> bytes:
    """A frame `(H, W)` twice, with each one's label map, as the bytes of a PNG."""
    picture = Image.fromarray(frame)
    sides = [
        np.asarray(captioned_tile(picture, mask, f"{name}: {words}"[:48], _SIDE_PX))
        for name, mask in (("experts", reference), ("predicted", predicted))
    ]
    buffer = BytesIO()
    Image.fromarray(np.concatenate(sides, 1)).save(buffer, format="PNG")
    return buffer.getvalue()

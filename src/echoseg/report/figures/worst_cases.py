"""Frames on which a Segmenter did worst: the experts' borders beside the predicted ones."""

from io import BytesIO

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from echoseg.report.figures.overlay import draw_contours

_SIDE_PX, _CAPTION_PX = 300, 22
_TEXT = (214, 220, 228)


def case_png(frame: np.ndarray, reference: np.ndarray, predicted: np.ndarray, words: str) -> bytes:
    """Return a frame `H W` twice, with each one's label map, as the bytes of a PNG."""
    sides = [
        _side(frame, mask, f"{name}: {words}")
        for name, mask in (("experts", reference), ("predicted", predicted))
    ]
    picture = Image.fromarray(np.concatenate([np.asarray(side) for side in sides], 1))
    buffer = BytesIO()
    picture.save(buffer, format="PNG")
    return buffer.getvalue()


def _side(frame: np.ndarray, mask: np.ndarray, words: str) -> Image.Image:
    zoom = _SIDE_PX / max(frame.shape)
    size = (max(1, round(frame.shape[1] * zoom)), max(1, round(frame.shape[0] * zoom)))
    picture = Image.fromarray(frame).convert("RGB").resize(size)
    draw_contours(picture, mask, zoom)
    side = Image.new("RGB", (_SIDE_PX, _SIDE_PX + _CAPTION_PX))
    side.paste(picture, ((_SIDE_PX - size[0]) // 2, _CAPTION_PX))
    ImageDraw.Draw(side).text((4, 3), words[:48], fill=_TEXT, font=ImageFont.load_default(12))
    return side

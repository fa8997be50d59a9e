"""Montages of small frames with and without contours: training data and predictions."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from echoseg.report.figures.overlay import draw_contours

_TILE_PX = 200
_CAPTION_PX = 20

Tile = tuple[np.ndarray, np.ndarray | None]
"""Gray levels `H W` in [0, 1], and labels `H W` whose borders are drawn."""


def training_sheet(columns: Sequence[str], rows: Sequence[Sequence[Tile]]) -> Image.Image:
    """Draw a montage of `rows`, each with one tile per column."""
    size = (_TILE_PX * len(columns), _TILE_PX * len(rows) + _CAPTION_PX)
    sheet = Image.new("RGB", size)
    draw = ImageDraw.Draw(sheet)
    for column, name in enumerate(columns):
        place = (column * _TILE_PX + 6, 2)
        draw.text(place, name, fill=(214, 220, 228), font=ImageFont.load_default(13))
        for row, tiles in enumerate(rows):
            sheet.paste(_drawn(tiles[column]), (column * _TILE_PX, row * _TILE_PX + _CAPTION_PX))
    return sheet


def _drawn(tile: Tile) -> Image.Image:
    grey, labels = tile
    size = (_TILE_PX, _TILE_PX)
    picture = Image.fromarray((grey * 255).round().clip(0, 255).astype(np.uint8)).convert("RGB")
    picture = picture.resize(size, Image.Resampling.BILINEAR)
    if labels is not None:
        mask = Image.fromarray(labels.astype(np.uint8)).resize(size, Image.Resampling.NEAREST)
        draw_contours(picture, np.asarray(mask), 1.0)
    return picture

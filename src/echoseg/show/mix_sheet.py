"""A sheet of mixed clips: host, donor, what became of them, and the target that goes with it."""

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from echoseg.show.overlay import draw_contours

_TILE_PX = 200
_CAPTION_PX = 20
_COLUMNS = ("host", "donor", "mixed", "matte", "target", "weight")


def mix_sheet(rows: list[dict[str, np.ndarray]]) -> Image.Image:
    """Return one row a clip.

    Args:
        rows: `host`, `donor`, `mixed` greys, `matte` and `weight`, each `H W` in [0, 1], and
            `target`, labels `H W`.
    """
    tiles = [[_tile(row, name) for name in _COLUMNS] for row in rows]
    pixels = np.concatenate([np.concatenate([np.asarray(t) for t in row], 1) for row in tiles])
    sheet = Image.new("RGB", (pixels.shape[1], pixels.shape[0] + _CAPTION_PX))
    sheet.paste(Image.fromarray(pixels), (0, _CAPTION_PX))
    draw = ImageDraw.Draw(sheet)
    for column, name in enumerate(_COLUMNS):
        place = (column * _TILE_PX + 6, 2)
        draw.text(place, name, fill=(214, 220, 228), font=ImageFont.load_default(13))
    return sheet


def _tile(row: dict[str, np.ndarray], name: str) -> Image.Image:
    grey = row["mixed"] if name == "target" else row[name]
    picture = Image.fromarray((grey * 255).round().clip(0, 255).astype(np.uint8)).convert("RGB")
    picture = picture.resize((_TILE_PX, _TILE_PX), Image.Resampling.BILINEAR)
    if name == "target":
        size = (_TILE_PX, _TILE_PX)
        mask = Image.fromarray(row["target"].astype(np.uint8)).resize(
            size, Image.Resampling.NEAREST
        )
        draw_contours(picture, np.asarray(mask), 1.0)
    return picture

"""A sheet of a data set: some of its clips, one frame each, with their contours."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from echoseg.data import Record
from echoseg.errors import EchosegError
from echoseg.report.figures.overlay import draw_contours

_TILE_PX, _CAPTION_PX, _COLUMNS = 224, 20, 6
_TEXT = (214, 220, 228)


def dataset_sheet(records: Sequence[Record], max_clips: int = 24) -> Image.Image:
    """Return evenly chosen clips, in order, each at ED where that is known."""
    chosen = np.unique(np.linspace(0, len(records) - 1, min(max_clips, len(records))).round())
    tiles = [_tile(records[int(index)]) for index in chosen]
    columns = min(_COLUMNS, len(tiles))
    rows = -(-len(tiles) // columns)
    height = _TILE_PX + _CAPTION_PX
    sheet = Image.new("RGB", (columns * _TILE_PX, rows * height))
    for index, tile in enumerate(tiles):
        sheet.paste(tile, (index % columns * _TILE_PX, index // columns * height))
    return sheet


def _tile(record: Record) -> Image.Image:
    """Return one clip's frame, letterboxed, its name above; a broken one says so."""
    tile = Image.new("RGB", (_TILE_PX, _TILE_PX + _CAPTION_PX))
    words = ImageDraw.Draw(tile)
    font = ImageFont.load_default(12)
    words.text((4, 2), record.name[-34:], fill=_TEXT, font=font)
    try:
        clip, known = record.load()
    except EchosegError:
        words.text((4, _TILE_PX // 2), "cannot be read", fill=_TEXT, font=font)
        return tile
    frame = 0
    if known is not None:
        frame = known.labelled_frames[0] if known.ed_frame is None else known.ed_frame
    zoom = _TILE_PX / max(clip.size)
    size = (max(1, round(clip.size[1] * zoom)), max(1, round(clip.size[0] * zoom)))
    picture = Image.fromarray(clip.frames[frame]).convert("RGB").resize(size)
    if known is not None and frame in known.labelled_frames:
        draw_contours(picture, known.masks[frame], zoom)
    left, top = (_TILE_PX - size[0]) // 2, (_TILE_PX - size[1]) // 2
    tile.paste(picture, (left, top + _CAPTION_PX))
    return tile

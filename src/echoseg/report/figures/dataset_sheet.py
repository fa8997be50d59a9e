"""Montage of a dataset: some of its clips, one frame each, with their contours."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from echoseg.data import Record
from echoseg.errors import EchosegError
from echoseg.report.figures.overlay import captioned_tile

_TILE_PX, _COLUMNS = 224, 6


def dataset_sheet(records: Sequence[Record], max_clips: int = 24) -> Image.Image:
    """Evenly chosen clips, in order, each at ED where that is known."""
    chosen = np.unique(np.linspace(0, len(records) - 1, min(max_clips, len(records))).round())
    tiles = [_tile(records[int(index)]) for index in chosen]
    columns = min(_COLUMNS, len(tiles))
    width, height = tiles[0].size
    sheet = Image.new("RGB", (columns * width, -(-len(tiles) // columns) * height))
    for index, tile in enumerate(tiles):
        sheet.paste(tile, (index % columns * width, index // columns * height))
    return sheet


def _tile(record: Record) -> Image.Image:
    """One frame of a clip, named above; a broken clip says so."""
    name = record.name[-34:]
    try:
        clip, known = record.load()
    except EchosegError:
        return captioned_tile(Image.new("L", (1, 1)), None, f"{name}: cannot be read", _TILE_PX)
    frame, mask = 0, None
    if known is not None:
        frame = known.labelled_frames[0] if known.ed_frame is None else known.ed_frame
        mask = known.masks[frame] if frame in known.labelled_frames else None
    return captioned_tile(Image.fromarray(clip.frames[frame]), mask, name, _TILE_PX)

"""What a run logs besides its folder's log: TensorBoard curves, and an image of predictions."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from echoseg.files import atomic_write
from echoseg.losses import IGNORE_LABEL
from echoseg.models.segmenter import Segmenter
from echoseg.models.windows import each_still
from echoseg.report.figures.overlay import draw_contours
from echoseg.train.data.training_set import TrainingSet
from echoseg.train.loop import Progress

NUM_SAMPLES = 6
_TILE_PX = 200
_CAPTION_PX = 20

Tile = tuple[np.ndarray, np.ndarray | None]
"""Gray levels `H W` in [0, 1], and labels `H W` whose borders are drawn."""


class TensorBoardLogger:
    """Curves under `tensorboard/` of a run, begun with the first values: one process has them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @cached_property
    def _writer(self) -> Any:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            return None  # the log of the run holds the same numbers
        return SummaryWriter(str(self._folder / "tensorboard"))

    def log(self, progress: Progress) -> None:
        """Add values to the curves."""
        if self._writer is not None:
            for name, value in progress.values.items():
                self._writer.add_scalar(name, value, progress.step)
            self._writer.flush()


@torch.inference_mode()
def write_samples(path: Path, model: Segmenter, clips: TrainingSet) -> None:
    """Draw the first labeled frame of a few clips with the expert's and the network's borders."""
    device = next(model.parameters()).device
    rows: list[list[Tile]] = []
    for index in clips.sampled(num=NUM_SAMPLES):
        clip = clips.clip(index)
        time = clip.labeled_frames[0] if clip.labeled_frames else 0
        frame = clip.frames[time].float() / 255
        labels = each_still(model, frame[None, None].to(device)).argmax(1)[0].cpu().numpy()
        mask = clip.masks_at([time])[0].numpy()
        known = np.where(mask == IGNORE_LABEL, 0, mask)
        gray = frame.numpy()
        rows.append([(gray, None), (gray, known), (gray, labels)])
    with atomic_write(path) as partial:
        training_sheet(("frame", "expert", "network"), rows).save(partial)


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

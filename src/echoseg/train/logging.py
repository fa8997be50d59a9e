"""What a run logs besides its folder's log: TensorBoard curves, and an image of predictions."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from echoseg.losses import IGNORE_LABEL
from echoseg.models.windows import each_still
from echoseg.train.data.training_set import TrainingSet
from echoseg.train.loop import Progress
from echoseg.train.samples import Tile, training_sheet

NUM_SAMPLES = 6


class TensorBoardLogger:
    """Curves under `tensorboard/` of a run's folder; nothing where TensorBoard is missing."""

    def __init__(self, folder: Path) -> None:
        self._writer: Any = None
        try:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(folder / "tensorboard"))
        except ImportError:
            pass  # the log of the run holds the same numbers

    def log(self, progress: Progress) -> None:
        """Add values to the curves."""
        if self._writer is not None:
            for name, value in progress.values.items():
                self._writer.add_scalar(name, value, progress.step)
            self._writer.flush()


@torch.inference_mode()
def write_samples(path: Path, model: Any, clips: TrainingSet) -> None:
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
    partial = path.with_name(f".{path.stem}.partial.png")
    try:
        training_sheet(("frame", "expert", "network"), rows).save(partial)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)

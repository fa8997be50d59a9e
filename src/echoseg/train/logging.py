"""What a run shows while it goes: curves for TensorBoard, and a sheet of what it finds."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from echoseg.files import atomic_write
from echoseg.losses import IGNORE_LABEL
from echoseg.models.windows import each_still
from echoseg.train.data.pool import Pool
from echoseg.train.loop import Report
from echoseg.train.samples import Tile, training_sheet

NUM_SAMPLES = 6


class Board:
    """Curves under `tensorboard/` of a run's folder; nothing where TensorBoard is missing."""

    def __init__(self, folder: Path) -> None:
        self._writer: Any = None
        try:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(folder / "tensorboard"))
        except ImportError:
            pass  # the log of the run holds the same numbers

    def report(self, report: Report) -> None:
        """Add a report's values to the curves."""
        if self._writer is not None:
            for name, value in report.values.items():
                self._writer.add_scalar(name.removeprefix("told_"), value, report.step)
            self._writer.flush()


@torch.inference_mode()
def write_samples(path: Path, model: Any, pool: Pool) -> None:
    """Draw clips spread over a pool: the first frame, its true borders, those found."""
    chosen = torch.linspace(0, len(pool) - 1, min(NUM_SAMPLES, len(pool))).round().long()
    frames = pool.frames[chosen, :1].float() / 255
    device = next(model.parameters()).device
    found = each_still(model, frames.to(device)).argmax(1).cpu().numpy()
    rows: list[list[Tile]] = []
    for grey, truth, mask in zip(
        frames[:, 0].numpy(), pool.truth[chosen, 0].numpy(), found, strict=True
    ):
        known = np.where(truth == IGNORE_LABEL, 0, truth)
        rows.append([(grey, None), (grey, known), (grey, mask)])
    with atomic_write(path) as partial:
        training_sheet(("frame", "expert", "network"), rows).save(partial)

"""Labelled clips only: what every other method must beat."""

from typing import Any

from echoseg.losses import level_loss
from echoseg.train.data.batches import Batch
from echoseg.train.ema import Teacher
from echoseg.train.methods.base import Terms, TrainingMethod, supervised_term


class Supervised(TrainingMethod):
    """Cross entropy and Dice against the masks.

    Args:
        deep_supervision: Add the loss of each decoder level for networks with `level_logits`.
    """

    unlabelled = False

    def __init__(self, *, deep_supervision: bool = True) -> None:
        super().__init__()
        self.deep_supervision = deep_supervision

    def forward(self, student: Any, teacher: Teacher, batch: Batch, ramp: float) -> Terms:
        """See `TrainingMethod`."""
        if not (self.deep_supervision and hasattr(student, "level_logits")):
            return {"supervised": supervised_term(student(batch.frames), batch)}
        drawn = student.level_logits(batch.frames.flatten(0, 1))
        known = batch.known_labels.repeat_interleave(batch.frames.shape[1], 0)
        loss = level_loss([each.float() for each in drawn], batch.masks.flatten(0, 1), known)
        return {"supervised": loss}

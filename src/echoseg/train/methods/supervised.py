"""Labeled clips only: the baseline of every other method."""

from typing import Any

from echoseg.losses import level_loss
from echoseg.train.data.batches import Batch
from echoseg.train.ema import EMA
from echoseg.train.methods.base import Terms, TrainingMethod


class Supervised(TrainingMethod):
    """Cross entropy and Dice against the masks.

    Args:
        deep_supervision: Add the loss of each decoder level for networks with `level_logits`.
    """

    uses_unlabeled = False

    def __init__(self, *, deep_supervision: bool = True) -> None:
        super().__init__()
        self.deep_supervision = deep_supervision

    def forward(self, student: Any, teacher: EMA, batch: Batch, ramp: float) -> Terms:
        """Compute the loss terms of a batch."""
        if self.loss or not (self.deep_supervision and hasattr(student, "level_logits")):
            logits, terms = self.predict(student, batch.strong, batch.hidden)
            return {"supervised": self.supervised_loss(logits, batch), **terms}
        levels = student.level_logits(batch.strong.flatten(0, 1))
        known = batch.known_labels.repeat_interleave(batch.strong.shape[1], 0)
        levels = [each.float() for each in levels]
        loss = level_loss(levels, batch.masks.flatten(0, 1), known)
        logits = levels[0].unflatten(0, batch.masks.shape[:2])
        return {"supervised": loss + self.ratio_loss(logits, batch.masks, batch.known_labels)}

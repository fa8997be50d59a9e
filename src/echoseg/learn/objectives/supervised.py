"""Labelled clips only: what every other method must beat."""

from typing import Any

from echoseg.learn.batches import Batch
from echoseg.learn.objectives.objective import Objective, Terms, supervised_term
from echoseg.learn.teacher import Teacher


class Supervised(Objective):
    """Cross entropy and Dice against the masks."""

    unlabelled = False

    def forward(self, student: Any, teacher: Teacher, batch: Batch, ramp: float) -> Terms:
        """See `Objective`."""
        return {"supervised": supervised_term(student(batch.frames), batch)}

"""Mean teacher: the student's probabilities on varied frames shall be the teacher's on plain ones.

    L = L_supervised + w ramp mean |p_student - p_teacher|^2

With `uncertain_from` below 1, pixels whose teacher entropy (mean over a few noisy looks) is above a
threshold are left out; the threshold rises over the ramp from three quarters of it to all of it.

Reference:
    Tarvainen and Valpola, NeurIPS 2017; Yu et al., "Uncertainty-aware self-ensembling model",
    MICCAI 2019 (the threshold; its dropout is noise on the frames here, as in its code).
"""

import math
from typing import Any

import torch
from torch import Tensor

from echoseg.train.data.batches import Batch
from echoseg.train.ema import Teacher
from echoseg.train.methods.base import (
    Terms,
    TrainingMethod,
    pseudo_probs,
    supervised_term,
    told_dice,
)


class MeanTeacher(TrainingMethod):
    """See the module.

    Args:
        weight: w.
    """

    def __init__(self, weight: float = 10.0) -> None:
        super().__init__()
        self.weight = weight

    def targets(self, teacher: Teacher, batch: Batch, ramp: float) -> tuple[Tensor, Tensor]:
        """Return probabilities `B' T K S S` and which pixels count, `B' T S S`."""
        probs = pseudo_probs(teacher, batch)
        return probs, torch.ones_like(probs[:, :, 0])

    def forward(self, student: Any, teacher: Teacher, batch: Batch, ramp: float) -> Terms:
        """See `TrainingMethod`."""
        logits = student(batch.frames)
        probs, counted = self.targets(teacher, batch, ramp)
        own = logits[batch.num_labeled :].float().softmax(2)
        away = (own - probs).square().mean(2)
        consistency = (away * counted).sum() / counted.sum().clamp(min=1)
        return {
            "supervised": supervised_term(logits, batch),
            "consistency": self.weight * ramp * consistency,
            "told_pseudo_dice": told_dice(probs, batch),
        }


class UncertaintyMeanTeacher(MeanTeacher):
    """Mean teacher that leaves out what the teacher is unsure of; see the module.

    Args:
        weight: w.
        num_passes: Noisy looks of the teacher.
        noise: Standard deviation of their noise.
    """

    def __init__(self, weight: float = 10.0, num_passes: int = 4, noise: float = 0.05) -> None:
        super().__init__(weight)
        self.num_passes, self.noise = num_passes, noise

    def targets(self, teacher: Teacher, batch: Batch, ramp: float) -> tuple[Tensor, Tensor]:
        """See `MeanTeacher`."""
        plain = batch.plain[batch.num_labeled :]
        looks = [
            teacher((plain + self.noise * torch.randn_like(plain)).clamp(0, 1))
            for _ in range(self.num_passes)
        ]
        probs = batch.moved(torch.stack(looks).mean(0), batch.num_labeled)
        entropy = -(probs * probs.clamp(min=1e-6).log()).sum(2)
        most = (0.75 + 0.25 * ramp) * math.log(probs.shape[2])
        return probs, (entropy < most).float()

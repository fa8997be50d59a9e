"""Mean teacher: consistency of the student on the strong view with the teacher on the weak one.

    L = L_supervised + w ramp mean |p_student - p_teacher|^2

The uncertainty-aware form leaves out pixels whose teacher entropy (of the mean over a few noisy
passes) is above a threshold, which rises over the ramp from 0.75 to 1 of the maximum entropy.

Reference:
    Tarvainen and Valpola, NeurIPS 2017; Yu et al., "Uncertainty-aware self-ensembling model",
    MICCAI 2019 (the threshold; its dropout is noise on the frames here, as in its code).
"""

import math

import torch
from torch import Tensor

from echoseg.models.segmenter import Segmenter
from echoseg.train.data.batches import Batch
from echoseg.train.ema import EMA
from echoseg.train.methods.base import Terms, TrainingMethod, pseudo_label_dice, pseudo_probs


class MeanTeacher(TrainingMethod):
    """Mean teacher: consistency of probabilities.

    Args:
        weight: w.
    """

    def __init__(self, weight: float = 10.0) -> None:
        super().__init__()
        self.weight = weight

    def targets(self, teacher: EMA, batch: Batch, ramp: float) -> tuple[Tensor, Tensor]:
        """Probabilities `B' T K S S` and which pixels count, `B' T S S`."""
        probs = pseudo_probs(teacher, batch)
        return probs, torch.ones_like(probs[:, :, 0])

    def forward(self, student: Segmenter, teacher: EMA, batch: Batch, ramp: float) -> Terms:
        """Compute the loss terms of a batch."""
        logits, terms = self.predict(student, batch.strong, batch.hidden)
        probs, counted = self.targets(teacher, batch, ramp)
        own = logits[batch.num_labeled :].float().softmax(2)
        away = (own - probs).square().mean(2)
        consistency = (away * counted).sum() / counted.sum().clamp(min=1)
        return {
            "supervised": self.supervised_loss(logits, batch),
            "consistency": self.weight * ramp * consistency,
            "metrics/pseudo_dice": pseudo_label_dice(probs, batch),
            **terms,
        }


class UncertaintyMeanTeacher(MeanTeacher):
    """Mean teacher that leaves out what the teacher is unsure of.

    Args:
        weight: w.
        num_passes: Noisy passes of the teacher.
        noise: Standard deviation of their noise.
    """

    def __init__(self, weight: float = 10.0, num_passes: int = 4, noise: float = 0.05) -> None:
        super().__init__(weight)
        self.num_passes, self.noise = num_passes, noise

    def targets(self, teacher: EMA, batch: Batch, ramp: float) -> tuple[Tensor, Tensor]:
        """Targets, and pixels whose entropy over the noisy passes is low."""
        weak = batch.weak[batch.num_labeled :]
        passes = [
            teacher((weak + self.noise * torch.randn_like(weak)).clamp(0, 1))
            for _ in range(self.num_passes)
        ]
        probs = batch.to_strong(torch.stack(passes).mean(0), batch.num_labeled)
        entropy = -(probs * probs.clamp(min=1e-6).log()).sum(2)
        limit = (0.75 + 0.25 * ramp) * math.log(probs.shape[2])
        return probs, (entropy < limit).float()

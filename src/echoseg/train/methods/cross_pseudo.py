"""Cross pseudo supervision: two networks of one shape teach each other with hard masks.

    L = L_supervised(1) + L_supervised(2) + w ramp (CE(z_1, argmax z_2) + CE(z_2, argmax z_1))

The second network starts from other random weights than the first (or, where the first was given
trained ones, from those with noise laid on); the first is the one that is kept.

Reference:
    Chen, Yuan, Zeng and Wang, "Semi-supervised semantic segmentation with cross pseudo
    supervision", CVPR 2021.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from echoseg.train.data.batches import Batch
from echoseg.train.data.pool import Pool
from echoseg.train.ema import Teacher
from echoseg.train.methods.base import Terms, TrainingMethod, supervised_term, told_dice


class CrossPseudo(TrainingMethod):
    """See the module.

    Args:
        weight: w.
    """

    second: nn.Module

    def __init__(self, weight: float = 1.5) -> None:
        super().__init__()
        self.weight = weight

    def prepare(self, student: Any, pool: Pool) -> None:
        """See `TrainingMethod`."""
        self.second = type(student)(student.config)
        if getattr(student, "is_pretrained", False):
            self.second.load_state_dict(student.state_dict())
            with torch.no_grad():
                for weight in self.second.parameters():
                    weight.add_(0.05 * weight.std(correction=0) * torch.randn_like(weight))

    def forward(self, student: Any, teacher: Teacher, batch: Batch, ramp: float) -> Terms:
        """See `TrainingMethod`."""
        both = [network(batch.frames).float() for network in (student, self.second)]
        loose = [logits[batch.num_labeled :].flatten(0, 1) for logits in both]
        cross = _hard(loose[0], loose[1]) + _hard(loose[1], loose[0])
        found = both[0][batch.num_labeled :].detach().softmax(2)
        return {
            "supervised": sum((supervised_term(logits, batch) for logits in both), torch.zeros(())),
            "cross": self.weight * ramp * cross,
            "told_pseudo_dice": told_dice(found, batch),
        }


def _hard(logits: Tensor, teaching: Tensor) -> Tensor:
    return functional.cross_entropy(logits, teaching.detach().argmax(1))

"""Cross pseudo supervision: two networks of one shape teach each other with hard masks.

    L = L_supervised(1) + L_supervised(2) + w ramp (CE(z_1, argmax z_2) + CE(z_2, argmax z_1))

The second network starts from other random weights than the first, or from the first's with noise
where that is pretrained or comes from another package; the first is the result.

Reference:
    Chen, Yuan, Zeng and Wang, "Semi-supervised semantic segmentation with cross pseudo
    supervision", CVPR 2021.
"""

from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.nn import functional

from echoseg.models.adapt import Adapted
from echoseg.models.segmenter import Segmenter
from echoseg.train.data.batches import Batch
from echoseg.train.data.training_set import TrainingSet
from echoseg.train.ema import EMA
from echoseg.train.methods.base import Terms, TrainingMethod, pseudo_label_dice


class CrossPseudo(TrainingMethod):
    """Cross pseudo supervision.

    Args:
        weight: w.
    """

    second: nn.Module

    def __init__(self, weight: float = 1.5) -> None:
        super().__init__()
        self.weight = weight

    def prepare(self, student: Segmenter, training_set: TrainingSet) -> None:
        """Build what depends on the network or the data."""
        if not getattr(student, "is_pretrained", False) and not isinstance(student, Adapted):
            self.second = type(student)(student.config)
        else:
            self.second = deepcopy(student)
            with torch.no_grad():
                for weight in self.second.parameters():
                    weight.add_(0.05 * weight.std(correction=0) * torch.randn_like(weight))

    def forward(self, student: Segmenter, teacher: EMA, batch: Batch, ramp: float) -> Terms:
        """Compute the loss terms of a batch."""
        (one, terms), (other, other_terms) = (
            self.predict(network, batch.strong, batch.hidden) for network in (student, self.second)
        )
        both = [one.float(), other.float()]
        terms = {name: term + other_terms[name] for name, term in terms.items()}
        unlabeled = [logits[batch.num_labeled :].flatten(0, 1) for logits in both]
        cross = _hard(unlabeled[0], unlabeled[1]) + _hard(unlabeled[1], unlabeled[0])
        probs = both[0][batch.num_labeled :].detach().softmax(2)
        return {
            "supervised": self.supervised_loss(both[0], batch)
            + self.supervised_loss(both[1], batch),
            "cross": self.weight * ramp * cross,
            "metrics/pseudo_dice": pseudo_label_dice(probs, batch),
            **terms,
        }


def _hard(logits: Tensor, teaching: Tensor) -> Tensor:
    return functional.cross_entropy(logits, teaching.detach().argmax(1))

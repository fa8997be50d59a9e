"""Bidirectional copy-paste: a box of labeled frames in unlabeled ones, and the other way round.

    mixed_1 = m x_l + (1 - m) x_u,  mixed_2 = m x_u + (1 - m) x_l        m = 0 in a box of 2/3 side
    L = sum over both: CE + Dice, pixels of pseudo-masks at weight a

Pseudo-masks are the largest piece of each label of the teacher's.

Reference:
    Bai, Chen, Li, Shen and Wang, "Bidirectional copy-paste for semi-supervised medical image
    segmentation", CVPR 2023.
"""

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from echoseg.losses import soft_target_loss
from echoseg.models.segmenter import Segmenter
from echoseg.train.data.batches import Batch
from echoseg.train.ema import EMA
from echoseg.train.methods.base import Terms, TrainingMethod, pseudo_label_dice, pseudo_probs
from echoseg.train.methods.mssnet import labeled_sample


class BidirectionalCopyPaste(TrainingMethod):
    """Bidirectional copy-paste.

    Args:
        weight: a.
        box_fraction: Side of the box as a fraction of the frame's.
    """

    def __init__(self, weight: float = 0.5, box_fraction: float = 2 / 3) -> None:
        super().__init__()
        self.weight, self.box_fraction = weight, box_fraction

    def forward(self, student: Segmenter, teacher: EMA, batch: Batch, ramp: float) -> Terms:
        """Compute the loss terms of a batch."""
        first, size = batch.num_labeled, batch.strong.shape[-1]
        probs = pseudo_probs(teacher, batch)
        num = min(first, len(probs))
        pseudo = functional.one_hot(largest_pieces(probs[:num]), probs.shape[2]).movedim(-1, 2)
        drawn = labeled_sample(batch)  # background has no weight where a label is not known
        box = self._box(size).to(probs.device)  # 1 inside
        uncertain = torch.full_like(drawn.weights[:num], self.weight * ramp)
        pairs = (
            (drawn.frames[:num], drawn.probs[:num], drawn.weights[:num]),
            (batch.strong[first : first + num], pseudo, uncertain),
        )
        mixed = [
            [box * a + (1 - box) * b for a, b in zip(*order, strict=True)]
            for order in (pairs, pairs[::-1])
        ]
        frames, targets, weights = (torch.cat(each) for each in zip(*mixed, strict=True))
        frames = torch.cat([batch.strong[:first], frames.to(batch.strong.dtype)])
        logits, terms = self.predict(student, frames, batch.hidden[:first])
        loss = soft_target_loss(
            logits[first:].float().flatten(0, 1), targets.flatten(0, 1), weights.flatten(0, 1)
        )
        return {
            "supervised": self.supervised_loss(logits, batch),
            "pasted": loss,
            "metrics/pseudo_dice": pseudo_label_dice(probs, batch),
            **terms,
        }

    def _box(self, size: int) -> Tensor:
        side = int(self.box_fraction * size)
        top, left = torch.randint(size - side + 1, (2,)).tolist()
        box = torch.zeros(size, size)
        box[top : top + side, left : left + side] = 1
        return box


def largest_pieces(probs: Tensor) -> Tensor:
    """The mask `B T S S` of probabilities `B T K S S`, each label its largest piece only."""
    masks = probs.argmax(2).flatten(0, 1).cpu().numpy()
    for mask in masks:
        for one in range(1, probs.shape[2]):
            pieces = np.empty(mask.shape, np.int32)
            if int(ndimage.label(mask == one, output=pieces)) > 1:  # pyright: ignore[reportArgumentType]
                largest = np.bincount(pieces.ravel())[1:].argmax() + 1
                mask[(pieces > 0) & (pieces != largest)] = 0
    return torch.from_numpy(masks).to(probs.device).unflatten(0, probs.shape[:2])

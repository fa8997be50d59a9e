"""MSSNet's training method: RAC mixes clips, DOC corrects pseudo-labels.

    P      = teacher(weak view)                       probabilities of the unlabeled clips
    M, t   = DOC: P moved towards a heart's shape; squared and normalised; t the clip's reliability
    w      = ramp t confidence(M)                     weight of a pixel; 1 where an expert drew
    x, y   = RAC: regions of labeled and of other unlabeled clips in (frames, M, w)
    L      = L_supervised + L_soft(student(x), y, w)

Without DOC, M = P and t = 1. Without RAC, x are the unlabeled clips themselves. While the ramp is
near 0, RAC takes labeled sources, and an unlabeled clip is the background of an expert's mask.

Backgrounds are unlabeled clips only: labeled ones are in the supervised term. Labeled sources are
augmented anew, so a step shows each of them in two views.

Reference:
    The abstract of MSSNet; the differences to its released code are in docs/method.md.
"""

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from echoseg.clip import Label
from echoseg.errors import ConfigError
from echoseg.losses import IGNORE_LABEL, soft_target_loss
from echoseg.train.data.augment import warp_frames
from echoseg.train.data.batches import Batch
from echoseg.train.data.training_set import ES_PHASE, TrainingSet
from echoseg.train.ema import EMA
from echoseg.train.methods.base import Terms, TrainingMethod, pseudo_label_dice
from echoseg.train.methods.mssnet_cross_mix import Sample, cross_mix, phases_of_targets
from echoseg.train.methods.mssnet_shape import HeartShapes


class MSSNetMethod(TrainingMethod):
    """MSSNet's method: RAC and DOC.

    Args:
        rac: Mix regions of clips.
        doc: Correct pseudo-labels by the shapes of hearts; off by default, see docs/method.md.
        weight: Weight of the unsupervised loss.
        mix_prob: Probability that a clip gets a region of another.
        shape_fraction: Share of the shape in a corrected pseudo-label, a of `mssnet_shape`.
    """

    def __init__(
        self,
        *,
        rac: bool = True,
        doc: bool = False,
        weight: float = 1.0,
        mix_prob: float = 1.0,
        shape_fraction: float = 0.4,
    ) -> None:
        super().__init__()
        self.rac, self.doc = rac, doc
        self.uses_sources = rac
        self.weight, self.mix_prob = weight, mix_prob
        self.shape_fraction = shape_fraction
        self.shapes: HeartShapes | None = None

    def prepare(self, student: Any, training_set: TrainingSet) -> None:
        """Build the shapes, with the borders that labeled masks draw.

        Raises:
            ConfigError: If they do not draw the ventricle.
        """
        if not self.doc:
            return
        labeled = training_set.sampled(training_set.is_labeled.nonzero()[:, 0])
        labels = {label for index in labeled for label in training_set.clip(index).known_labels}
        if labels and Label.LV_CAVITY not in labels:
            raise ConfigError(
                "method mssnet corrects masks of the left ventricle, data has none; use "
                'method="rac_only"'
            )
        self.shapes = HeartShapes(self.shape_fraction, labels)

    def forward(self, student: Any, teacher: EMA, batch: Batch, ramp: float) -> Terms:
        """Compute the loss terms of a batch."""
        first = batch.num_labeled
        predicted = teacher(batch.weak[first:])
        if not predicted.isfinite().all():
            return {"mixed": predicted.sum()}  # nan, which the loop refuses
        unlabeled, reliability = self._targets(batch, predicted, ramp)
        metrics = {
            "metrics/pseudo_dice": pseudo_label_dice(batch.to_strong(predicted, first), batch),
            "metrics/target_dice": pseudo_label_dice(unlabeled.probs, batch),
            "metrics/reliability": reliability.mean(),
        }
        mixed = unlabeled
        if self.rac:
            mixed = self._mixed(unlabeled, labeled_sample(batch.sources or batch), ramp)
        frames = torch.cat([batch.strong[:first], mixed.frames])
        hidden = torch.cat([batch.hidden[:first], mixed.hidden])
        logits, shared = self.predict(student, frames, hidden)
        loss = soft_target_loss(
            logits[first:].float().flatten(0, 1),
            mixed.probs.flatten(0, 1),
            mixed.weights.flatten(0, 1),
        )
        terms = {
            "supervised": self.supervised_loss(logits, batch),
            "mixed": self.weight * loss,
        }
        return terms | shared | metrics

    def _targets(self, batch: Batch, predicted: Tensor, ramp: float) -> tuple[Sample, Tensor]:
        """The unlabeled clips with their targets, and the reliability `B'` in them."""
        first = batch.num_labeled
        probs, reliability = predicted, predicted.new_ones(len(predicted))
        if self.shapes is not None:
            phases = phases_of_targets(batch.phases[first:], predicted)
            probs, reliability = self.shapes(predicted, (phases / ES_PHASE).clamp(0, 1))
        # beyond the frame there is certainly nothing
        weights = warp_frames(confidence(probs) - 1, batch.grid[first:]) + 1
        squared = probs.square()  # and normalised: a target closer to one label
        sample = Sample(
            frames=batch.strong[first:],
            probs=batch.to_strong(squared / squared.sum(2, keepdim=True), first),
            weights=ramp * weights * reliability[:, None, None, None],
            phases=batch.phases[first:],
            hidden=batch.hidden[first:],
        )
        return sample, reliability

    def _mixed(self, unlabeled: Sample, drawn: Sample, ramp: float) -> Sample:
        """The unlabeled clips, most with a region of a labeled or of another unlabeled clip."""
        num, num_drawn = len(unlabeled.frames), len(drawn.frames)
        pot = Sample._make(map(torch.cat, zip(drawn, unlabeled, strict=True)))
        from_labeled = torch.randint(num_drawn, (num,))
        others = torch.arange(num) + torch.randint(1, max(num, 2), (num,))
        from_unlabeled = num_drawn + others % num
        sources = torch.where(torch.rand(num) < 0.5 * ramp, from_unlabeled, from_labeled)
        mixed, _ = cross_mix(unlabeled, pot.pick(sources))
        return mixed.where(torch.rand(num) < self.mix_prob, unlabeled)


def labeled_sample(batch: Batch) -> Sample:
    """The labeled clips; pixels of unknown label have no weight."""
    num = batch.num_labeled
    masks = batch.masks[:num]
    known = masks != IGNORE_LABEL
    # where not all labels are known, background may be one of them
    all_known = batch.known_labels[:num].all(1)[:, None, None, None]
    weights = known & (all_known | (masks != 0))
    one_hot = functional.one_hot(masks.long().masked_fill(~known, 0), batch.known_labels.shape[1])
    return Sample(
        frames=batch.strong[:num],
        probs=one_hot.movedim(-1, 2).to(batch.strong.dtype),
        weights=weights.to(batch.strong.dtype),
        phases=batch.phases[:num],
        hidden=batch.hidden[:num],
    )


def confidence(probs: Tensor) -> Tensor:
    """1 + sum_k p log p / log K, `B T S S` in [0, 1], of probabilities `B T K S S`."""
    entropy = -(probs * probs.clamp(min=1e-6).log()).sum(2)
    return (1 - entropy / math.log(probs.shape[2])).clamp(0, 1)

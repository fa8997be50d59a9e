"""MSSNet's training method: RAC mixes clips, DOC keeps and corrects pseudo-labels.

    P      = teacher(weak view)                       probabilities of the unlabeled clips
    M, t   = DOC bank updated with P; M squared and normalised; t the reliability in the clip
    w      = ramp t confidence(M) consistency(M)      weight of a pixel; 1 where an expert drew
    x, y   = RAC: regions of labeled and of other unlabeled clips in (frames, M, w)
    L      = L_supervised + L_soft(student(x), y, w) + a L_prototypes

Without DOC, M = P and t = 1. Without RAC, x are the unlabeled clips themselves. While the ramp is
near 0, RAC takes labeled sources, and an unlabeled clip is the background of an expert's mask.

Backgrounds are unlabeled clips only: labeled ones are in the supervised term. Labeled sources are
augmented anew, so a step shows each of them in two views.

Reference:
    The abstract of MSSNet; the differences to its released code are in docs/method.md.
"""

from contextlib import nullcontext
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from echoseg.errors import ConfigError
from echoseg.losses import IGNORE_LABEL, soft_target_loss
from echoseg.train.data.augment import warp_frames
from echoseg.train.data.batches import Batch
from echoseg.train.data.training_set import NUM_LABELS, TrainingSet
from echoseg.train.ema import EMA
from echoseg.train.methods.base import Terms, TrainingMethod, pseudo_label_dice
from echoseg.train.methods.confidence import confidence, temporal_consistency
from echoseg.train.methods.mssnet_cross_mix import Sample, cross_mix
from echoseg.train.methods.mssnet_memory_bank import PseudoLabelBank
from echoseg.train.methods.mssnet_prototypes import Prototypes

REACH_FRACTION = 0.08
"""Distance that a wall may move between the frames of a clip, fraction of the side."""


class MSSNetMethod(TrainingMethod):
    """MSSNet's method: RAC and DOC.

    Args:
        rac: Mix regions of clips.
        doc: Keep and correct pseudo-labels, and learn prototypes.
        weight: Weight of the unsupervised loss.
        mix_prob: Probability that a clip gets a region of another.
        prototype_weight: a.
    """

    def __init__(
        self,
        *,
        rac: bool = True,
        doc: bool = True,
        weight: float = 1.0,
        mix_prob: float = 1.0,
        prototype_weight: float = 0.05,
    ) -> None:
        super().__init__()
        self.rac, self.doc = rac, doc
        self.uses_sources = rac
        self.weight, self.mix_prob = weight, mix_prob
        self.prototype_weight = prototype_weight
        self.bank: PseudoLabelBank | None = None
        self.initial: torch.nn.Module | None = None
        self.prototypes: Prototypes | None = None

    def prepare(self, student: Any, training_set: TrainingSet) -> None:
        """Build what depends on the network or the data."""
        if self.doc:
            head = getattr(student, "head", None)
            if not isinstance(head, torch.nn.Conv2d):
                name = type(getattr(student, "network", student)).__name__  # the user's class
                raise ConfigError(
                    f"method mssnet needs a network with a last layer named head, {name} has none; "
                    'use method="supervised" (echoseg train supervised) or method="rac_only"'
                )
            self.bank = PseudoLabelBank(training_set)
            self.prototypes = Prototypes(head.in_channels, NUM_LABELS)
            if getattr(student, "is_pretrained", False):
                self.initial = deepcopy(student).requires_grad_(False)

    def share_with(self, gather: Any) -> None:
        """Share predictions and prototypes between processes."""
        for part in (self.bank, self.prototypes):
            if part is not None:
                part.gather = gather

    def forward(self, student: Any, teacher: EMA, batch: Batch, ramp: float) -> Terms:
        """Compute the loss terms of a batch."""
        first = batch.num_labeled
        predicted = teacher(batch.weak[first:])
        unlabeled, reliability = self._targets(batch, predicted, ramp)
        metrics = {
            "metrics/pseudo_dice": pseudo_label_dice(batch.to_strong(predicted, first), batch),
            "metrics/target_dice": pseudo_label_dice(unlabeled.probs, batch),
            "metrics/reliability": reliability.mean(),
        }
        mixed = unlabeled
        if self.rac:
            mixed = self._mixed(unlabeled, labeled_sample(batch.sources or batch), ramp)
        features: list[Tensor] = []
        hook: Any = nullcontext()
        if self.prototypes is not None:
            hook = student.head.register_forward_pre_hook(lambda _, xs: features.append(xs[0]))
        with hook:
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
        if self.prototypes is not None:
            drawn = labeled_sample(batch)
            probs = torch.cat([drawn.probs, mixed.probs])
            weights = torch.cat([drawn.weights, mixed.weights * (mixed.weights > 0.5)])
            maps = _clip_by_clip(features)
            pull = self.prototypes(maps, *_shrunk(probs, weights, maps.shape[-1]))
            terms["prototypes"] = self.prototype_weight * pull
        return terms | shared | metrics

    def _targets(self, batch: Batch, predicted: Tensor, ramp: float) -> tuple[Sample, Tensor]:
        """The unlabeled clips with their targets, and the reliability `B'` in them."""
        first = batch.num_labeled
        if self.bank is None:
            probs, reliability = predicted, torch.ones(len(predicted), device=predicted.device)
        else:
            clips, times = batch.clips[first:], batch.times[first:]
            self._store_initial(clips, times, batch.weak[first:])
            probs, reliability, _ = self.bank.update(clips, times, predicted)
        weights = confidence(probs) * temporal_consistency(
            probs, round(REACH_FRACTION * probs.shape[-1])
        )
        # beyond the frame there is certainly nothing
        weights = warp_frames(weights - 1, batch.grid[first:]) + 1
        squared = probs.square()  # and normalised: a target closer to one label
        sample = Sample(
            frames=batch.strong[first:],
            probs=batch.to_strong(squared / squared.sum(2, keepdim=True), first),
            weights=ramp * weights * reliability[:, None, None, None],
            phases=batch.phases[first:],
            hidden=batch.hidden[first:],
        )
        return sample, reliability

    @torch.no_grad()
    def _store_initial(self, clips: Tensor, times: Tensor, weak: Tensor) -> None:
        """Offer the bank the pretrained network's own masks of clips that it does not hold yet.

        Later predictions are folded into these, so a mask remembers more than the few labels.
        """
        if self.initial is None or self.bank is None:
            return
        new = ~self.bank.is_stored(clips, times).any(1).to(weak.device)
        if self.bank.gather(new.float()).any():  # every process takes part
            probs = self.initial.eval()(weak).float().softmax(2)
            self.bank.update(clips, times, probs, only=new)

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


def _clip_by_clip(features: list[Tensor]) -> Tensor:
    """Features `B*T C h w`, from one call like that or from one call `B C h w` per frame."""
    return features[0] if len(features) == 1 else torch.stack(features, 1).flatten(0, 1)


def _shrunk(probs: Tensor, weights: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Labels and weights `N h w` on the features' grid."""
    small = functional.interpolate(probs.flatten(0, 1), size=(side, side), mode="area")
    highest, labels = small.max(1)
    light = functional.interpolate(weights.flatten(0, 1)[:, None], size=(side, side), mode="area")
    return labels, light[:, 0] * highest

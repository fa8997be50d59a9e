"""FixMatch: learn the teacher's mask where it is confident. UniMatch: from more views.

    L = L_supervised + w ramp mean [max p_teacher > tau] CE(z_student, argmax p_teacher)

UniMatch trains on two strong views, and on the weak one while the coarsest map loses half of its
channels (dropout). Unlike the authors' code it has no CutMix, no dropout of a finer map, a second
strong view that is the first one changed again, and the moving average as the teacher.

Reference:
    Sohn et al., "FixMatch", NeurIPS 2020; Yang et al., "Revisiting weak-to-strong consistency in
    semi-supervised semantic segmentation" (UniMatch), CVPR 2023, section 3.
"""

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.hooks import RemovableHandle

from echoseg.errors import ConfigError
from echoseg.models.segmenter import Segmenter
from echoseg.train.data.batches import Batch
from echoseg.train.ema import EMA
from echoseg.train.methods.base import Terms, TrainingMethod, pseudo_label_dice, pseudo_probs


class FixMatch(TrainingMethod):
    """FixMatch: pseudo-labels of confident pixels.

    Args:
        weight: w.
        confidence_threshold: tau.
    """

    def __init__(self, weight: float = 1.0, confidence_threshold: float = 0.95) -> None:
        super().__init__()
        self.weight, self.confidence_threshold = weight, confidence_threshold

    def forward(self, student: Segmenter, teacher: EMA, batch: Batch, ramp: float) -> Terms:
        """Compute the loss terms of a batch."""
        probs = pseudo_probs(teacher, batch)
        is_confident = probs.amax(2) > self.confidence_threshold
        logits, terms = self.predict(student, batch.strong, batch.hidden)
        loss = self.matched(logits[batch.num_labeled :], probs)
        return {
            "supervised": self.supervised_loss(logits, batch),
            "matched": self.weight * ramp * loss,
            "metrics/pseudo_dice": pseudo_label_dice(probs, batch),
            "metrics/confident_fraction": is_confident.float().mean(),
            **terms,
        }

    def matched(self, logits: Tensor, probs: Tensor) -> Tensor:
        """Loss of logits `B' T K S S` against the confident pixels of probabilities."""
        highest, mask = probs.flatten(0, 1).max(1)
        away = functional.cross_entropy(logits.float().flatten(0, 1), mask, reduction="none")
        return (away * (highest > self.confidence_threshold)).mean()


class UniMatch(FixMatch):
    """FixMatch on two strong views, and on the weak one with feature dropout."""

    def forward(self, student: Segmenter, teacher: EMA, batch: Batch, ramp: float) -> Terms:
        """Compute the loss terms of a batch."""
        first = batch.num_labeled
        weak, unlabeled = batch.weak[first:], batch.strong[first:]
        weak_probs = teacher(weak)
        probs = batch.to_strong(weak_probs, first)
        frames = torch.cat([batch.strong, _another_view(unlabeled)])
        logits, terms = self.predict(student, frames, batch.hidden)
        with _lost_features(student):
            lost = student(weak)
        views = logits[first : first + len(unlabeled)], logits[first + len(unlabeled) :]
        strong = 0.5 * sum(self.matched(view, probs) for view in views)
        return {
            "supervised": self.supervised_loss(logits, batch),
            "matched": self.weight * ramp * 0.5 * (strong + self.matched(lost, weak_probs)),
            "metrics/pseudo_dice": pseudo_label_dice(probs, batch),
            **terms,
        }


def _another_view(frames: Tensor) -> Tensor:
    """The frames `B T 1 S S` with another contrast, speckle and cutout."""
    num, _, _, size, _ = frames.shape
    shape = (num, 1, 1, 1, 1)
    gamma = torch.exp(0.5 * torch.randn(shape, device=frames.device))
    augmented = frames.clamp(1e-4, 1) ** gamma * (1 + 0.1 * torch.randn_like(frames))
    rows = torch.arange(size, device=frames.device)
    corner = torch.randint(size, (2, *shape), device=frames.device)
    inside = ((rows[:, None] - corner[0]).abs() < size // 8) & (
        (rows - corner[1]).abs() < size // 8
    )
    return augmented.masked_fill(inside, 0.2).clamp(0, 1)


def _lost_features(student: Segmenter) -> RemovableHandle:
    """Let half of the channels of the coarsest map be lost, those left doubled, in a `with`."""
    coarsest = getattr(student, "encoder3", None)
    if coarsest is None:
        raise ConfigError(
            f"unimatch must know a network's coarsest map, encoder3, {type(student).__name__} has "
            "none; take fixmatch or another network"
        )
    return coarsest.register_forward_hook(
        lambda module, inputs, output: functional.dropout2d(output, 0.5)
    )

"""FixMatch: learn the teacher's mask where it is sure. UniMatch: from more views, features too.

    L = L_supervised + w ramp mean [max p_teacher > tau] CE(z_student, argmax p_teacher)

UniMatch looks at two varied views, and at one more whose coarse features have lost half of their
channels; each has the same weight.

Reference:
    Sohn et al., "FixMatch", NeurIPS 2020; Yang et al., "Revisiting weak-to-strong consistency in
    semi-supervised semantic segmentation" (UniMatch), CVPR 2023, section 3.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from echoseg.errors import ConfigError
from echoseg.train.data.batches import Batch
from echoseg.train.ema import Teacher
from echoseg.train.methods.base import (
    Terms,
    TrainingMethod,
    pseudo_probs,
    supervised_term,
    told_dice,
)


class FixMatch(TrainingMethod):
    """See the module.

    Args:
        weight: w.
        confidence_threshold: tau.
    """

    def __init__(self, weight: float = 1.0, confidence_threshold: float = 0.95) -> None:
        super().__init__()
        self.weight, self.confidence_threshold = weight, confidence_threshold

    def forward(self, student: Any, teacher: Teacher, batch: Batch, ramp: float) -> Terms:
        """See `TrainingMethod`."""
        probs = pseudo_probs(teacher, batch)
        logits = student(batch.frames)
        loss = self.matched(logits[batch.num_labeled :], probs)
        return {
            "supervised": supervised_term(logits, batch),
            "matched": self.weight * ramp * loss,
            "told_pseudo_dice": told_dice(probs, batch),
            "told_sure_share": (probs.amax(2) > self.confidence_threshold).float().mean(),
        }

    def matched(self, logits: Tensor, probs: Tensor) -> Tensor:
        """Return the loss of logits `B' T K S S` against the sure pixels of probabilities."""
        most, mask = probs.flatten(0, 1).max(1)
        away = functional.cross_entropy(logits.float().flatten(0, 1), mask, reduction="none")
        return (away * (most > self.confidence_threshold)).mean()


class UniMatch(FixMatch):
    """FixMatch on two varied views and on one with lost features; see the module."""

    def forward(self, student: Any, teacher: Teacher, batch: Batch, ramp: float) -> Terms:
        """See `TrainingMethod`."""
        first = batch.num_labeled
        probs = pseudo_probs(teacher, batch)
        loose = batch.frames[first:]
        logits = student(torch.cat([batch.frames, _another_view(loose)]))
        with _lost_features(student):
            lost = student(loose)
        views = [logits[first : first + len(loose)], logits[first + len(loose) :], lost]
        losses = [self.matched(view, probs) for view in views]
        return {
            "supervised": supervised_term(logits, batch),
            "matched": self.weight * ramp * (0.25 * (losses[0] + losses[1]) + 0.5 * losses[2]),
            "told_pseudo_dice": told_dice(probs, batch),
        }


def _another_view(frames: Tensor) -> Tensor:
    """Return the frames `B T 1 S S` with another contrast, grain and hidden box."""
    num, _, _, size, _ = frames.shape
    shape = (num, 1, 1, 1, 1)
    gamma = torch.exp(0.5 * torch.randn(shape, device=frames.device))
    varied = frames.clamp(1e-4, 1) ** gamma * (1 + 0.1 * torch.randn_like(frames))
    rows = torch.arange(size, device=frames.device)
    corner = torch.randint(size, (2, *shape), device=frames.device)
    inside = ((rows[:, None] - corner[0]).abs() < size // 8) & (
        (rows - corner[1]).abs() < size // 8
    )
    return varied.masked_fill(inside, 0.2).clamp(0, 1)


@contextmanager
def _lost_features(student: Any) -> Iterator[None]:
    """Let half of the channels of the coarsest map be lost, those left doubled."""
    coarsest = getattr(student, "encoder3", None)
    if coarsest is None:
        raise ConfigError(
            f"unimatch must know a network's coarsest map, encoder3, {type(student).__name__} has "
            "none; take fixmatch or another network"
        )
    handle = coarsest.register_forward_hook(
        lambda module, given, found: functional.dropout2d(found, 0.5)
    )
    try:
        yield
    finally:
        handle.remove()

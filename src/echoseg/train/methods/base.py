"""What a way of learning must say: how a batch becomes a loss.

An method is a module, so that what it learns or remembers is saved with the run. It is given the
student, the teacher and the batch, and returns named terms whose sum is minimised. Labelled clips
come first in a batch; all methods learn them alike (`supervised_term`), see the same varied view,
have the same teacher and weigh what nobody labelled by the same ramp.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from echoseg.losses import cross_entropy_dice_loss
from echoseg.train.data.batches import Batch, BatchConfig
from echoseg.train.data.pool import Pool
from echoseg.train.ema import Teacher

Terms = dict[str, Tensor]
"""Name of a term -> its value; what starts with `told_` is shown and not minimised."""


class TrainingMethod(nn.Module, ABC):
    """One way of learning.

    Attributes:
        unlabelled: It learns from clips without a mask; others get labelled ones in their place.
    """

    unlabelled = True

    def prepare(self, student: Any, pool: Pool) -> None:
        """Make what depends on the network or the pool; called once, before the optimizer.

        Raises:
            ConfigError: If the network lacks what this way of learning needs.
        """

    def share_with(self, gather: Callable[[Tensor], Tensor]) -> None:
        """Take what brings together, along the first dimension, what all processes have."""

    def share_out(self, pool: Pool, config: BatchConfig, num_processes: int) -> BatchConfig:
        """Return how many clips of a step are labelled ones; called once, before the first step.

        Args:
            pool: What is learnt from.
            config: As asked for.
            num_processes: That share a batch; the numbers stay multiples of it.
        """
        return config

    @abstractmethod
    def forward(self, student: Any, teacher: Teacher, batch: Batch, ramp: float) -> Terms:
        """Return the terms of one batch.

        Args:
            student: Network that learns, in training mode.
            teacher: Its averaged twin.
            batch: Labelled and unlabelled clips.
            ramp: From 0 to 1 in the first part of a run: trust in what nobody labelled.
        """


def ramp_up(done: float, length: float = 0.3) -> float:
    """Return exp(-5 (1 - done / length)^2), 1 from `length` on; `done` is the share of the run.

    Reference:
        Laine and Aila, "Temporal ensembling for semi-supervised learning", ICLR 2017.
    """
    return math.exp(-5 * (1 - min(done / length, 1)) ** 2)


def supervised_term(logits: Tensor, batch: Batch, num: int | None = None) -> Tensor:
    """Return the loss of the labelled clips' logits `B' T K S S`."""
    num = batch.num_labeled if num is None else num
    time = logits.shape[1]
    return cross_entropy_dice_loss(
        logits[:num].float().flatten(0, 1),
        batch.masks[:num].flatten(0, 1),
        batch.known_labels[:num].repeat_interleave(time, 0),
    )


def pseudo_probs(teacher: Teacher, batch: Batch) -> Tensor:
    """Return the teacher's `B' T K S S` for the unlabelled clips, found plain, moved to varied."""
    return batch.moved(teacher(batch.plain[batch.num_labeled :]), batch.num_labeled)


@torch.no_grad()
def told_dice(probs: Tensor, batch: Batch) -> Tensor:
    """Return the mean Dice of pseudo-masks against the hidden truth, over labels found there.

    Args:
        probs: `B' T K S S` of the last B' clips.
        batch: Where the truth is.

    Returns:
        A number, nan where nobody knows the truth.
    """
    truth = batch.truth[-len(probs) :]
    found = probs.argmax(2)
    scores = [
        2 * ((found == k) & (truth == k)).sum() / ((found == k).sum() + (truth == k).sum())
        for k in range(1, probs.shape[2])
        if (truth == k).any()
    ]
    return torch.stack(scores).mean() if scores else torch.tensor(math.nan)

"""The interface of a training method: how a batch becomes a loss.

A method is a module, so that what it learns or remembers is saved with the run. It is given the
student, its exponential moving average (the teacher) and a batch, and returns named terms whose sum
is minimised. Labeled clips come first in a batch; all methods share the supervised loss, the
augmentation, the teacher and the ramp of the unsupervised weight.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from echoseg.errors import ConfigError
from echoseg.losses import IGNORE_LABEL, area_ratio_loss, cross_entropy_dice_loss
from echoseg.metrics.segmentation import dice
from echoseg.models.segmenter import Segmenter
from echoseg.train.data.batches import Batch
from echoseg.train.data.training_set import TrainingSet
from echoseg.train.ema import EMA

if TYPE_CHECKING:
    from echoseg.train.config import TrainConfig

HIDDEN_PIXEL_WEIGHT = 4.0
"""Weight of hidden pixels, which are few, in the loss of carry gates."""

Terms = dict[str, Tensor]
"""Name of a term -> its value; `metrics/*` is logged and not minimised."""
Loss = Callable[[Tensor, Tensor], Tensor]
"""(logits `N K H W`, masks `N H W` int64 with `losses.IGNORE_LABEL` where unknown) -> scalar."""


class LossWeights(NamedTuple):
    """Weights of the losses that all methods share; see the fields `*_weight` of `TrainConfig`."""

    carry: float = 0.05
    ratio: float = 0.0

    @classmethod
    def of(cls, config: "TrainConfig") -> "LossWeights":
        """The weights of a config."""
        return cls._make(getattr(config, f"{name}_weight") for name in cls._fields)


class TrainingMethod(nn.Module, ABC):
    """One training method.

    Examples:
        >>> class Supervised(TrainingMethod):
        ...     uses_unlabeled = False
        ...
        ...     def forward(self, student, teacher, batch, ramp):
        ...         logits, terms = self.predict(student, batch.strong, batch.hidden)
        ...         return {"supervised": self.supervised_loss(logits, batch), **terms}

    Attributes:
        uses_unlabeled: Whether it learns from clips without masks; if not, a step holds none.
        uses_sources: Whether a batch holds another augmentation of its labeled clips, `sources`.
        checkpoints: Trained networks that it learns from; their terms go on the card.
        loss: The supervised loss; None: cross entropy and Dice.
        weights: Weights of the losses that all methods share.
    """

    uses_unlabeled = True
    uses_sources = False
    checkpoints: tuple[str, ...] = ()
    loss: Loss | None = None
    weights: LossWeights = LossWeights()

    def prepare(self, student: Segmenter, training_set: TrainingSet) -> None:
        """Make what depends on the network or the data; called once, before the optimizer.

        Raises:
            ConfigError: If the network lacks what the method needs.
        """

    @abstractmethod
    def forward(self, student: Segmenter, teacher: EMA, batch: Batch, ramp: float) -> Terms:
        """The terms of one batch.

        Args:
            student: The network, in training mode.
            teacher: Its exponential moving average.
            batch: Labeled and unlabeled clips.
            ramp: Weight of the unsupervised loss, which rises from 0 to 1 in the first part of a
                run.
        """

    def predict(
        self, student: Any, frames: Tensor, hidden: Tensor | None = None
    ) -> tuple[Tensor, Terms]:
        """Run the student; teach its carry gates, if it has any, where the picture is hidden.

        Args:
            student: The network.
            frames: `B T 1 S S`.
            hidden: `B' T S S` in [0, 1] of the first B' clips; those of others are unknown.

        Returns:
            Logits `B T K S S`, and the term `carry`: binary cross entropy of the gates against the
            hidden map, averaged over each gate's pixels; without a clip's first frame, where there
            is no past. No term for a network without carry gates.
        """
        if hidden is None or not (self.weights.carry and hasattr(student, "carry_logits")):
            return student(frames), {}
        logits, gates = student.carry_logits(frames)
        losses = [
            functional.binary_cross_entropy_with_logits(
                gate[: len(hidden), 1:].float(),
                functional.adaptive_avg_pool2d(hidden, gate.shape[-2:])[:, 1:],
                pos_weight=torch.tensor(HIDDEN_PIXEL_WEIGHT, device=hidden.device),
            )
            for gate in gates
        ]
        if not losses or hidden.shape[1] < 2:
            return logits, {}
        return logits, {"carry": self.weights.carry * torch.stack(losses).mean()}

    def supervised_loss(self, logits: Tensor, batch: Batch, num: int | None = None) -> Tensor:
        """Loss of the first `num` clips' logits `B' T K S S`; by default of all labeled ones.

        Raises:
            ConfigError: If a custom loss fails or returns no scalar.
        """
        num = batch.num_labeled if num is None else num
        masks, known = batch.masks[:num], batch.known_labels[:num]
        logits = logits[:num].float()
        extra = self.ratio_loss(logits, masks, known)
        flat, masks = logits.flatten(0, 1), masks.flatten(0, 1)  # (B' T, K, S, S)
        if self.loss is None:
            known = known.repeat_interleave(logits.shape[1], 0)
            return cross_entropy_dice_loss(flat, masks, known) + extra
        return _custom_loss(self.loss, flat, masks.long()) + extra

    def ratio_loss(self, logits: Tensor, masks: Tensor, known_labels: Tensor) -> Tensor:
        """Weighted `area_ratio_loss` of `B T K S S` and `B T S S`; 0 where its weight is 0."""
        if not self.weights.ratio:
            return logits.new_zeros(())
        return self.weights.ratio * area_ratio_loss(logits, masks, known_labels)


def _custom_loss(loss: Loss, logits: Tensor, masks: Tensor) -> Tensor:
    """The value of a user's loss of logits `N K S S` and masks `N S S`.

    Raises:
        ConfigError: If it fails or returns no scalar with a gradient.
    """
    try:
        value = loss(logits, masks)
    except Exception as error:  # whatever a user's function raises
        raise ConfigError(
            f"loss must take logits N K H W and masks N H W with 255 where unknown; it raised "
            f"{type(error).__name__}: {error}"
        ) from error
    if not isinstance(value, Tensor) or value.ndim:
        got = tuple(getattr(value, "shape", ())) or type(value).__name__
        raise ConfigError(f"loss must return a scalar tensor, got {got}; return its mean")
    if logits.requires_grad and not value.requires_grad:
        raise ConfigError(
            "loss must return a tensor with a gradient, this one is detached from the logits; "
            "leave out detach, item, argmax and torch.no_grad"
        )
    return value


def ramp_up(done: float, length: float = 0.3) -> float:
    """exp(-5 (1 - done / length)^2), 1 from `length` on; `done` is the fraction of the run.

    Reference:
        Laine and Aila, "Temporal ensembling for semi-supervised learning", ICLR 2017.
    """
    return math.exp(-5 * (1 - min(done / length, 1)) ** 2)


def pseudo_probs(teacher: EMA, batch: Batch) -> Tensor:
    """The teacher's `B' T K S S` for the weak view of the unlabeled clips, on the strong view."""
    return batch.to_strong(teacher(batch.weak[batch.num_labeled :]), batch.num_labeled)


@torch.no_grad()
def pseudo_label_dice(probs: Tensor, batch: Batch) -> Tensor:
    """Mean Dice of pseudo-labels against the hidden masks, over the labels in them.

    Args:
        probs: `B' T K S S` of the last B' clips.
        batch: Where the masks are.

    Returns:
        A scalar, nan where there are no masks.
    """
    masks = batch.all_masks[-len(probs) :]
    predicted = probs.argmax(2)
    known = predicted.masked_fill(masks == IGNORE_LABEL, 0)
    scores = [dice(known, masks, k) for k in range(1, probs.shape[2]) if (masks == k).any()]
    return torch.tensor(scores or [math.nan]).mean()

r"""Knowledge distillation: a small network learns the masks and a trained network's probabilities.

    python -m echoseg train experiments.distillation:Distilled --data CAMUS -o OUT \
        --set architecture.size=nano

With p the probabilities of the trained network and q those of the student, both on the strong
view, the loss of a batch is

    L = L_masks(q) + w KL(p || q)                                    mean over the pixels

Reference:
    Hinton, Vinyals and Dean, "Distilling the knowledge in a neural network", arXiv 1503.02531,
    2015, with a temperature of 1.
"""

from typing import Any

import torch
from torch.nn import functional

from echoseg.errors import ConfigError
from echoseg.models.checkpoint import load_model
from echoseg.nn.fused import fuse
from echoseg.train.data.batches import Batch
from echoseg.train.data.training_set import TrainingSet
from echoseg.train.ema import EMA
from echoseg.train.methods.base import Terms
from echoseg.train.methods.supervised import Supervised
from experiments.pruning import prune


class Distilled(Supervised):
    """Supervised, and the divergence from a trained network.

    Args:
        trained: Name or path of the checkpoint to learn from.
        divergence_weight: w.
        pruned: Begin with the channels of the trained network that matter most (`pruning`), unless
            the run begins with a checkpoint (`init_from`).
    """

    def __init__(
        self, *, trained: str = "camus", divergence_weight: float = 2.0, pruned: bool = True
    ) -> None:
        super().__init__()
        if divergence_weight <= 0:
            raise ConfigError(f"divergence_weight must be positive, got {divergence_weight}")
        network, _ = load_model(trained)
        self._trained = [network]  # in a list, so that its weights are not saved with the run
        self.checkpoints = (trained,)
        self.divergence_weight, self.pruned = divergence_weight, pruned

    def prepare(self, student: Any, training_set: TrainingSet) -> None:
        """Give the student its first weights.

        Raises:
            ConfigError: If the trained network has other labels, or cannot be pruned to it.
        """
        trained = self._trained[0]
        if trained.num_labels != student.num_labels:
            raise ConfigError(
                f"trained must have the {student.num_labels} labels of the network, it has "
                f"{trained.num_labels}; give another checkpoint"
            )
        if self.pruned and not getattr(student, "is_pretrained", False):
            prune(trained, student, training_set)

    def forward(self, student: Any, teacher: EMA, batch: Batch, ramp: float) -> Terms:
        """Compute the loss terms of a batch."""
        if len(self._trained) == 1:  # the copy that is run, now that the device is known
            self._trained.append(fuse(self._trained[0].to(batch.strong.device)))
        with torch.no_grad():
            expected = self._trained[1](batch.strong).float().log_softmax(2)
        logits, terms = self.predict(student, batch.strong, batch.hidden)
        divergence = functional.kl_div(
            logits.float().log_softmax(2), expected, reduction="none", log_target=True
        )
        return {
            "supervised": self.supervised_loss(logits, batch),
            "divergence": self.divergence_weight * divergence.sum(2).mean(),
            **terms,
        }

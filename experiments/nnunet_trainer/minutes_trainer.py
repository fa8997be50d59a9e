"""nnU-Net v2's own trainer within a budget of wall-clock minutes, for machines without a GPU.

nnU-Net finds it by `nnUNet_extTrainer`, the path of this folder; `NNUNET_MINUTES` is the budget.
Loss, network, optimizer, augmentation and sampling are nnU-Net's. Its polynomial decay of the
learning rate runs over the budget, in seconds instead of epochs, and an epoch is shorter. Where the
processor multiplies matrices in bfloat16 (AMX) the network is computed in it, as nnU-Net's is in
float16 on a GPU, and the loss in float32.
"""

import os
from time import time

import torch
from nnunetv2.training.lr_scheduler.polylr import PolyLRScheduler
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer


class nnUNetTrainerMinutes(nnUNetTrainer):
    """Train for `NNUNET_MINUTES` (default 60); what an interrupted run had done counts."""

    def __init__(self, plans, configuration, fold, dataset_json, device):
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.budget_s = 60 * float(os.environ.get("NNUNET_MINUTES", "60"))
        self.num_iterations_per_epoch, self.num_val_iterations_per_epoch = 50, 8
        self.save_every = 5

    def initialize(self) -> None:
        """nnU-Net's, with the network in bfloat16 on a processor that has AMX."""
        super().initialize()
        if self.device.type == "cpu" and torch.cpu._is_amx_tile_supported():
            self.network.forward = in_bf16(self.network.forward)

    def configure_optimizers(self):
        """nnU-Net's SGD; the decay counts seconds."""
        optimizer, _ = super().configure_optimizers()
        return optimizer, TimeDecay(optimizer, self)

    def elapsed_s(self) -> float:
        """Seconds in all epochs that the log holds, and in the one in progress."""
        starts = self.logger.get_value("epoch_start_timestamps", step=None)
        ends = self.logger.get_value("epoch_end_timestamps", step=None)
        past = sum(end - start for start, end in zip(starts, ends, strict=False))
        return past + (time() - starts[-1] if len(starts) > len(ends) else 0.0)

    def train_step(self, batch: dict) -> dict:
        """nnU-Net's step at the learning rate of this moment."""
        self.lr_scheduler.step()
        return super().train_step(batch)

    def on_epoch_end(self) -> None:
        """End with the budget.

        Raises:
            BudgetSpent: If it is spent.
        """
        super().on_epoch_end()
        if self.elapsed_s() >= self.budget_s:
            raise BudgetSpent

    def run_training(self) -> None:
        """Train until the budget is spent."""
        try:
            super().run_training()
        except BudgetSpent:
            self.on_train_end()


def in_bf16(forward):
    """A network's forward in bfloat16, its logits (one scale, or a list) in float32."""

    def computed(frames):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = forward(frames)
        return [x.float() for x in logits] if isinstance(logits, list) else logits.float()

    return computed


class TimeDecay(PolyLRScheduler):
    """nnU-Net's polynomial decay over the seconds of the budget."""

    def __init__(self, optimizer, trainer: nnUNetTrainerMinutes) -> None:
        self._trainer = trainer
        super().__init__(optimizer, trainer.initial_lr, trainer.budget_s)

    def step(self, current_step=None) -> None:
        """Set the learning rate of this moment, whatever the epoch."""
        super().step(min(self._trainer.elapsed_s(), 0.999 * self._trainer.budget_s))


class BudgetSpent(Exception):
    """The minutes are over."""

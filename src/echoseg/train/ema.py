"""Exponential moving average of the weights: the teacher of a semi-supervised run.

theta' <- d theta' + (1 - d) theta, with d = min(decay, (1 + n) / (10 + n)) after n steps, so that
the first, random weights are soon forgotten. Buffers (those of batch norm) are averaged too.

Reference:
    Tarvainen and Valpola, "Mean teachers are better role models", NeurIPS 2017.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from echoseg.models.segmenter import Segmenter


class EMA(nn.Module):
    """The averaged twin of a student, in evaluation mode and never differentiated."""

    def __init__(self, student: Segmenter, decay: float = 0.995) -> None:
        super().__init__()
        self.decay = decay
        self.averaged = AveragedModel(student, use_buffers=True).eval()
        self.averaged.requires_grad_(False)

    @property
    def model(self) -> Any:
        """The averaged network itself."""
        return self.averaged.module

    def update(self, student: nn.Module) -> None:
        """Move the average towards the student, after its step."""
        steps = int(self.averaged.n_averaged)
        decay = min(self.decay, (1 + steps) / (10 + steps))
        self.averaged.multi_avg_fn = get_ema_multi_avg_fn(decay)
        self.averaged.update_parameters(student)

    @torch.no_grad()
    def forward(self, frames: Tensor) -> Tensor:
        """Probabilities `B T K H W` of frames `B T 1 H W`."""
        self.averaged.eval()  # a caller that trains the whole may have called train()
        return self.averaged(frames).float().softmax(2)

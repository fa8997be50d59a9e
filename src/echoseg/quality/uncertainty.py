"""How sure a network is of single frames: its entropy, and what another gain changes."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from echoseg.clip import Label
from echoseg.metrics.segmentation import dice
from echoseg.models.windows import each_still

GAINS = (0.8, 1.25)
"""Factors on the grey levels under which a mask should stay what it is."""


@dataclass(frozen=True, kw_only=True, slots=True)
class UncertaintyFeatures:
    """A network's doubt about one frame.

    Attributes:
        entropy: Mean over the pixels it takes for cavity or wall, as a share (0..1) of the most
            there can be; 1 where it finds none.
        disagreement_percent: 100 less the Dice of its cavities before and after another gain, the
            mean over `GAINS`.
    """

    entropy: float
    disagreement_percent: float


@torch.inference_mode()
def doubts(network: Any, stills: Tensor) -> list[UncertaintyFeatures]:
    """Return the doubt about each of the frames `N 1 S S` in [0, 1], each taken for itself."""
    share = each_still(network, stills).softmax(1)
    labels = share.argmax(1)
    entropy = -(share * share.clamp(min=1e-12).log()).sum(1) / torch.log(
        torch.tensor(float(share.shape[1]))
    )
    heart = (labels == Label.LV_CAVITY) | (labels == Label.LV_MYOCARDIUM)
    changed = [each_still(network, (stills * gain).clamp(0, 1)).argmax(1) for gain in GAINS]
    found = []
    for index in range(len(stills)):
        inside = entropy[index][heart[index]]
        scores = [dice(labels[index], other[index], Label.LV_CAVITY) or 0.0 for other in changed]
        found.append(
            UncertaintyFeatures(
                entropy=float(inside.mean()) if inside.numel() else 1.0,
                disagreement_percent=100 * (1 - sum(scores) / len(scores)),
            )
        )
    return found

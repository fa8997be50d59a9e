"""Uncertainty of a network on single frames: entropy, and disagreement under another gain."""

import torch
from torch import Tensor

from echoseg.clip import Label
from echoseg.metrics.segmentation import dice
from echoseg.models.segmenter import Segmenter
from echoseg.models.windows import each_still

GAINS = (0.8, 1.25)
"""Factors on the grey levels that should not change a mask."""


@torch.inference_mode()
def uncertainty_features(network: Segmenter, stills: Tensor) -> list[dict[str, float]]:
    """Compute the features of each frame `(N, 1, S, S)` in [0, 1], independently of the others.

    Returns:
        Per frame `entropy` and `disagreement_percent`, as in `ClipUncertainty`.
    """
    probability = each_still(network, stills).softmax(1)
    labels = probability.argmax(1)
    entropy = -(probability * probability.clamp(min=1e-12).log()).sum(1) / torch.log(
        torch.tensor(float(probability.shape[1]))
    )
    heart = (labels == Label.LV_CAVITY) | (labels == Label.LV_MYOCARDIUM)
    changed = [each_still(network, (stills * gain).clamp(0, 1)).argmax(1) for gain in GAINS]
    features = []
    for index in range(len(stills)):
        inside = entropy[index][heart[index]]
        scores = [dice(labels[index], other[index], Label.LV_CAVITY) or 0.0 for other in changed]
        features.append(
            {
                "entropy": float(inside.mean()) if inside.numel() else 1.0,
                "disagreement_percent": 100 * (1 - sum(scores) / len(scores)),
            }
        )
    return features

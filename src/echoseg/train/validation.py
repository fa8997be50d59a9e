"""Scores of a network during training, on the network's own grid.

They are quick enough for every validation round; final results come from `echoseg evaluate`, on the
images' own grid.
"""

import numpy as np
import torch
from torch import Tensor

from echoseg.errors import ConfigError
from echoseg.evaluation.items import STRUCTURES
from echoseg.losses import IGNORE_LABEL
from echoseg.metrics.segmentation import dice
from echoseg.models.segmenter import Segmenter
from echoseg.models.windows import each_still
from echoseg.train.data.training_set import TrainingSet

MAX_CLIPS, MAX_FRAMES = 200, 6
"""Clips of a set, and labeled frames of a clip, that are scored."""


@torch.inference_mode()
def validation_scores(model: Segmenter, clips: TrainingSet) -> dict[str, float]:
    """Mean Dice per structure, and `score`, the mean of those.

    Raises:
        ConfigError: If no clip has a mask.
    """
    was_training = model.training
    model.eval()
    device = next(model.parameters()).device
    scores: dict[str, list[float]] = {}
    for index in clips.sampled(num=MAX_CLIPS):
        clip, usable = clips.clip(index), clips.usable_frames(index)
        if not usable:
            continue
        places = np.linspace(0, len(usable) - 1, min(MAX_FRAMES, len(usable))).round().astype(int)
        times = [usable[place] for place in places]
        stills = clip.frames[times].to(device).float()[:, None] / 255  # (N, 1, S, S)
        labels = each_still(model, stills).argmax(1).cpu()
        for predicted, mask in zip(labels, clip.masks_at(times), strict=True):
            for name, score in _dice(predicted, mask, clip.known_labels):
                scores.setdefault(name, []).append(score)
    model.train(was_training)
    if not scores:
        raise ConfigError("validation must have masks, it has none; give another data set")
    means = {name: float(np.mean(values)) for name, values in scores.items()}
    return {**means, "score": float(np.mean(list(means.values())))}


def _dice(predicted: Tensor, mask: Tensor, known: frozenset[int]) -> list[tuple[str, float]]:
    """Dice of the structures that the mask distinguishes and that are in either of the two."""
    if (mask == IGNORE_LABEL).any():
        return []
    return [
        (name, score)
        for name, labels in STRUCTURES.items()
        if known.issuperset(labels) and (score := dice(predicted, mask, labels)) is not None
    ]

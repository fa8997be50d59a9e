"""Uncertainty of a network at ED and ES: entropy, EF of other poses and of other grey levels."""

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from echoseg.clip import Label
from echoseg.metrics.segmentation import dice
from echoseg.models.segmenter import Segmenter
from echoseg.models.windows import each_still

ROTATION_DEG, ZOOM = 8.0, 1.1
"""How far pictures are turned, either way, and enlarged or reduced."""

GAMMAS = (0.7, 1.4)
"""Powers of the grey levels; unlike a gain they cut nothing off."""


@torch.inference_mode()
def still_features(network: Segmenter, stills: Tensor) -> dict[str, float]:
    """`entropy`, `pose_points` and `gamma_percent`, as in `ClipUncertainty`, of ED and ES.

    The EF of a pose is that of the cavity's areas a, 100 (1 - (a_ES / a_ED)^(3/2)).

    Args:
        network: A Segmenter.
        stills: ED and ES, `(2, 1, S, S)` in [0, 1], segmented each for itself.
    """
    poses = [(ROTATION_DEG, 1.0), (-ROTATION_DEG, 1.0), (0.0, ZOOM), (0.0, 1 / ZOOM)]
    posed = [_posed(stills, *pose) for pose in poses]
    changed = [stills**gamma for gamma in GAMMAS]
    pairs = torch.cat([stills, *posed, *changed])
    at_once = len(pairs) if network.streams else 2  # others make a clip of each still
    parts = [each_still(network, part) for part in pairs.split(at_once)]
    logits, *others = torch.cat(parts).split(2)
    probability = logits.softmax(1)
    labels = probability.argmax(1)
    entropy = -(probability * probability.clamp(min=1e-12).log()).sum(1) / math.log(
        probability.shape[1]
    )
    heart = (labels == Label.LV_CAVITY) | (labels == Label.LV_MYOCARDIUM)
    of_frames = [
        float(one[inside].mean()) if inside.any() else 1.0
        for one, inside in zip(entropy, heart, strict=True)
    ]
    efs = [_area_ef(other.argmax(1)) for other in others[: len(poses)]]
    scores = [
        dice(before, after, Label.LV_CAVITY) or 0.0
        for other in others[len(poses) :]
        for before, after in zip(labels, other.argmax(1), strict=True)
    ]
    return {
        "entropy": float(np.mean(of_frames)),
        "pose_points": float(np.std(efs)),
        "gamma_percent": 100 * (1 - float(np.mean(scores))),
    }


def _posed(stills: Tensor, degrees: float, zoom: float) -> Tensor:
    """Frames `N 1 S S` turned about their centers and enlarged."""
    angle = math.radians(degrees)
    across, along = math.cos(angle) / zoom, math.sin(angle) / zoom
    matrix = torch.tensor([[across, -along, 0.0], [along, across, 0.0]], device=stills.device)
    grid = functional.affine_grid(
        matrix.expand(len(stills), 2, 3), list(stills.shape), align_corners=False
    )
    return functional.grid_sample(stills, grid, align_corners=False)


def _area_ef(labels: Tensor) -> float:
    """EF in percent, 0 to 100, of the areas of the cavity at ED and ES."""
    ed, es = (labels == Label.LV_CAVITY).sum((1, 2)).tolist()
    return 100 * (1 - min(1.0, es / ed) ** 1.5) if ed else 0.0

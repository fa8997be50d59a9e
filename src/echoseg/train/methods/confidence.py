"""How reliable a pseudo-label is per pixel: two factors in [0, 1].

With p(k) the probability of label k:

    confidence           = 1 + sum_k p log p / log K
    temporal consistency = 1 - 1/2 sum_k dist(p_t, [min p_s, max p_s])
                           over the neighboring frames s, min and max over the pixels that a wall
                           can move
"""

import math

import torch
from torch import Tensor
from torch.nn import functional


def confidence(probs: Tensor) -> Tensor:
    """`B T S S` of probabilities `B T K S S`."""
    entropy = -(probs * probs.clamp(min=1e-6).log()).sum(2)
    return (1 - entropy / math.log(probs.shape[2])).clamp(0, 1)


def temporal_consistency(probs: Tensor, reach_px: int) -> Tensor:
    """`B T S S`: low where no neighboring frame has similar probabilities within reach.

    Args:
        probs: `B T K S S`.
        reach_px: Distance that a wall may move between neighboring frames.
    """
    time = probs.shape[1]
    if time == 1:
        return torch.ones_like(probs[:, :, 0])
    high, low = _max_within(probs, reach_px), -_max_within(-probs, reach_px)
    consistency = torch.ones_like(probs[:, :, 0])
    for now, other in ((slice(1, None), slice(None, -1)), (slice(None, -1), slice(1, None))):
        here = probs[:, now]
        away = (here - high[:, other]).relu() + (low[:, other] - here).relu()
        consistency[:, now] = torch.minimum(consistency[:, now], 1 - 0.5 * away.sum(2))
    return consistency


def _max_within(maps: Tensor, reach_px: int) -> Tensor:
    """Maximum of maps `B T K S S` in a square around each pixel.

    By rows, then by columns: several times as fast as the whole square at once.
    """
    side = 2 * reach_px + 1
    rows = functional.max_pool2d(maps.flatten(0, 1), (side, 1), 1, (reach_px, 0))
    return functional.max_pool2d(rows, (1, side), 1, (0, reach_px)).view_as(maps)

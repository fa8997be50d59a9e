"""How far a pseudo-mask may be trusted, pixel by pixel: two numbers in [0, 1] to be multiplied.

With p(k) the probability of label k:

    certainty  = 1 + sum_k p log p / log K              the network's own
    steadiness = 1 - 1/2 sum_k dist(p_t, [min p_s, max p_s])
                 over the neighbouring frames s, min and max over as many pixels as a wall can move
"""

import math

import torch
from torch import Tensor
from torch.nn import functional


def certainty(probs: Tensor) -> Tensor:
    """Return `B T S S` of probabilities `B T K S S`."""
    entropy = -(probs * probs.clamp(min=1e-6).log()).sum(2)
    return (1 - entropy / math.log(probs.shape[2])).clamp(0, 1)


def steadiness(probs: Tensor, reach_px: int) -> Tensor:
    """Return `B T S S`: low where no neighbouring frame has the like within reach.

    Args:
        probs: `B T K S S`.
        reach_px: How far a wall may move between neighbouring frames.
    """
    time = probs.shape[1]
    if time == 1:
        return torch.ones_like(probs[:, :, 0])
    most, least = _most_within(probs, reach_px), -_most_within(-probs, reach_px)
    steady = torch.ones_like(probs[:, :, 0])
    for now, other in ((slice(1, None), slice(None, -1)), (slice(None, -1), slice(1, None))):
        here = probs[:, now]
        away = (here - most[:, other]).relu() + (least[:, other] - here).relu()
        steady[:, now] = torch.minimum(steady[:, now], 1 - 0.5 * away.sum(2))
    return steady


def _most_within(maps: Tensor, reach_px: int) -> Tensor:
    """Return the largest value of maps `B T K S S` in a square about each pixel.

    By rows, then by columns: several times as fast as the whole square at once.
    """
    side = 2 * reach_px + 1
    rows = functional.max_pool2d(maps.flatten(0, 1), (side, 1), 1, (reach_px, 0))
    return functional.max_pool2d(rows, (1, side), 1, (0, reach_px)).view_as(maps)

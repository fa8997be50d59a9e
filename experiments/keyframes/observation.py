"""What a scheduler sees of a frame before it decides, and what it may still spend.

Maps on a small grid, which the network's cheap path gives (`warp.WarpedNetwork.observe`): how far
the picture is from the last key frame, how uncertain the network was there, what of the motion
cannot be matched. With them, the share of key frames so far and the frames since the last.

Reference:
    Wang, Dong, Shen, Wu, Cheng and Pantic, "Dynamic Face Video Segmentation via Reinforcement
    Learning", CVPR 2020, section 3.3, whose deviation comes out of a flow network; ours costs
    nothing beside a small encoder.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from torch.nn import functional

GRID = 8


class Observation(NamedTuple):
    """What is known of E frames of E clips."""

    maps: Tensor
    """`E C G G`; the first map is the deviation of the picture from the last key frame."""
    key_share: Tensor
    """`E`, share of the frames so far that were key frames."""
    since_key: Tensor
    """`E`, frames since the last key frame, 1 for the frame after it."""


class Budget(BaseModel):
    """How many frames may be key frames, the first aside, which must be one.

    A share of the frames so far, at least of `warm_up`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    share: float = Field(gt=0, le=1)
    warm_up: int = Field(default=20, ge=1)
    """Frames' worth of keys that may be spent at the beginning."""


class History:
    """Which frames of one clip were key frames. The first always is."""

    def __init__(self) -> None:
        self.num_frames, self.num_keys, self.since_key = 1, 1, 1

    def add(self, is_key: bool) -> None:
        """Note one more frame."""
        self.num_frames += 1
        self.num_keys += is_key
        self.since_key = 1 if is_key else self.since_key + 1

    def affords(self, budget: Budget | None) -> bool:
        """Return whether the next frame may be a key frame."""
        if budget is None:
            return True
        allowed = budget.share * max(self.num_frames + 1, budget.warm_up)
        return self.num_keys <= allowed + 1e-9


def observe(maps: Sequence[Tensor], histories: Sequence[History]) -> Observation:
    """Put several clips' frames into one observation; their maps are `C G G`."""
    device = maps[0].device
    shares = [history.num_keys / history.num_frames for history in histories]
    since = [float(history.since_key) for history in histories]
    return Observation(
        torch.stack(list(maps)),
        torch.tensor(shares, device=device),
        torch.tensor(since, device=device),
    )


def box_means(frames: Tensor, grid: int = GRID) -> Tensor:
    """`N 1 H W` -> `N 1 G G`."""
    return functional.adaptive_avg_pool2d(frames, grid)

"""A small network from an observation of a frame to one number: a convolution and four layers.

Reference:
    Wang et al., CVPR 2020, section 3.3: one convolution, four fully connected layers.
"""

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from echoseg.errors import ArgumentError
from experiments.keyframes.observation import GRID, Observation


class KeyFrameNet(nn.Module):
    """The logit of a key frame, or its expected gain.

    Args:
        grid: Side G of the maps.
        num_maps: C.
        width: Of the layers.
        key_share: As a policy, about how probable key frames are before learning: as probable as
            the budget allows is a good start.

    Raises:
        ArgumentError: If `key_share` is not between 0 and 1.
    """

    def __init__(
        self, grid: int = GRID, width: int = 32, key_share: float = 0.5, num_maps: int = 1
    ) -> None:
        super().__init__()
        if not 0 < key_share < 1:
            raise ArgumentError(
                f"key_share must be over 0 and under 1, got {key_share}; 0.5 leans to neither"
            )
        self.conv = nn.Conv2d(num_maps, 4, 3, 1, 1)
        widths = (4 * grid * grid + 2, 2 * width, width, width)
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))
        self.out = nn.Linear(width, 1)
        nn.init.constant_(self.out.bias, math.log(key_share / (1 - key_share)))

    def forward(self, observation: Observation) -> Tensor:
        """E observations -> `E`."""
        features = functional.relu(self.conv(observation.maps)).flatten(1)
        past = torch.stack([observation.key_share, 0.5 * observation.since_key.log1p()], 1)
        x = torch.cat([features, past], 1)
        for layer in self.layers:
            x = functional.relu(layer(x))
        return self.out(x)[:, 0]

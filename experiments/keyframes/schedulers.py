"""Who decides whether a frame is computed in full: a clock, a threshold, what was learned.

Each is a function of an `Observation` of E frames that returns E answers.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from echoseg.errors import ArgumentError
from experiments.keyframes.net import KeyFrameNet
from experiments.keyframes.observation import Observation

Scheduler = Callable[[Observation], Tensor]
"""An observation of E frames -> `E` bool, which are to be key frames."""


@dataclass(frozen=True)
class FixedInterval:
    """Every n-th frame."""

    interval: int

    def __post_init__(self) -> None:
        _check_frames("interval", self.interval)

    def __call__(self, observation: Observation) -> Tensor:
        """Decide for E frames."""
        return observation.since_key >= self.interval


@dataclass(frozen=True)
class DifferenceThreshold:
    """Where the mean deviation from the last key frame passes a threshold."""

    threshold: float

    def __post_init__(self) -> None:
        _check_threshold(self.threshold)

    def __call__(self, observation: Observation) -> Tensor:
        """Decide for E frames."""
        return observation.maps[:, 0].mean((1, 2)) > self.threshold


@dataclass(frozen=True)
class UncertaintyThreshold:
    """Where the mean of the product of all maps but the first passes a threshold.

    Of a `WarpedNetwork`: the network's uncertainty where the motion cannot be matched.
    """

    threshold: float

    def __post_init__(self) -> None:
        _check_threshold(self.threshold)

    def __call__(self, observation: Observation) -> Tensor:
        """Decide for E frames."""
        return observation.maps[:, 1:].prod(1).mean((1, 2)) > self.threshold


@dataclass(frozen=True)
class GainThreshold:
    """Where a network expects a full frame to gain more Dice than a threshold.

    `schedule.gains` teaches the network and finds the threshold of a budget.
    """

    net: KeyFrameNet
    threshold: float

    def __post_init__(self) -> None:
        _check_threshold(self.threshold)

    @torch.no_grad()
    def __call__(self, observation: Observation) -> Tensor:
        """Decide for E frames."""
        return self.net(observation) > self.threshold


@dataclass(frozen=True)
class Policy:
    """Where a network learned by reinforcement (`schedule.policy`) would rather have a key frame.

    Args:
        net: Gives the logit of a key frame.
        generator: To draw from the probabilities, as in training; not given, the likelier.
    """

    net: KeyFrameNet
    generator: torch.Generator | None = None

    @torch.no_grad()
    def __call__(self, observation: Observation) -> Tensor:
        """Decide for E frames."""
        probability = torch.sigmoid(self.net(observation))
        if self.generator is None:
            return probability > 0.5
        return torch.rand(probability.shape, generator=self.generator) < probability


@dataclass(frozen=True)
class NoLongerThan:
    """Another scheduler, and a key frame at least every `max_gap` frames."""

    scheduler: Scheduler
    max_gap: int

    def __post_init__(self) -> None:
        _check_frames("max_gap", self.max_gap)

    def __call__(self, observation: Observation) -> Tensor:
        """Decide for E frames."""
        return self.scheduler(observation) | (observation.since_key >= self.max_gap)


def _check_frames(name: str, number: int) -> None:
    if not isinstance(number, int) or number < 1:
        raise ArgumentError(f"{name} must be a whole number of at least 1 frame, got {number}")


def _check_threshold(threshold: float) -> None:
    if math.isnan(threshold):
        raise ArgumentError("threshold must be a number, got nan")

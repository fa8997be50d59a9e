"""KEY FRAMES. Which frames of a clip are worth the whole network, and which a cheap path.

Reference:
    Wang, Dong, Shen, Wu, Cheng and Pantic, "Dynamic Face Video Segmentation via Reinforcement
    Learning", CVPR 2020.
"""

from experiments.keyframes.observation import Budget, Observation
from experiments.keyframes.scheduled import ScheduledClip, segment_clip
from experiments.keyframes.schedulers import (
    DifferenceThreshold,
    FixedInterval,
    GainThreshold,
    NoLongerThan,
    Policy,
    Scheduler,
    UncertaintyThreshold,
)
from experiments.keyframes.warp import WarpedNetwork

__all__ = [
    "Budget",
    "DifferenceThreshold",
    "FixedInterval",
    "GainThreshold",
    "NoLongerThan",
    "Observation",
    "Policy",
    "ScheduledClip",
    "Scheduler",
    "UncertaintyThreshold",
    "WarpedNetwork",
    "segment_clip",
]

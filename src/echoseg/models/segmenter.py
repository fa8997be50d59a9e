"""What every Segmenter is: a recurrence over frames whose state goes in and comes out."""

from abc import ABC, abstractmethod
from typing import Any

from pydantic import BaseModel
from torch import Tensor, nn


class Segmenter(nn.Module, ABC):
    """Frames in, logits out, one frame after another.

    Frames are grey in [0, 1]; both sides of a frame are multiples of `stride`. The state is a
    `NamedTuple` of tensors and is never kept in the module.

    A model that looks ahead says `streams = False`: it takes clips of `num_frames` frames of
    `image_size` px whole, in `forward`, and its `init_state` and `step` raise a `ModelError`.
    `models.windows.each_frame` runs either kind over a clip.
    """

    stride: int
    streams: bool = True
    """Whether frames may come one at a time."""
    remembers: bool = True
    """Whether a frame's logits depend on other frames."""
    num_frames: int | None = None
    """Frames of the only clip it takes; None: any number."""
    image_size: int | None = None
    """Side of the only square it takes, in pixels; None: any multiple of `stride`."""
    config_class: type[BaseModel]
    config: Any
    num_labels: int

    @abstractmethod
    def init_state(self, batch_size: int) -> Any:
        """Return the state before the first frame, on the module's device and type."""

    @abstractmethod
    def step(self, frame: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Take in one frame: `B 1 H W` and the state -> logits `B K H W` and the new state."""

    @abstractmethod
    def forward(self, frames: Tensor) -> Tensor:
        """Take in a clip: `B T 1 H W` -> logits `B T K H W`; equals stepping through it."""

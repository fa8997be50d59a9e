"""A Segmenter that sees one frame at a time and remembers nothing: for networks of stills."""

from abc import abstractmethod
from typing import NamedTuple

from torch import Tensor

from echoseg.models.segmenter import Segmenter


class NoState(NamedTuple):
    """What a network of stills carries from frame to frame."""


class FrameSegmenter(Segmenter):
    """A recurrence with an empty state: `segment` is all of it."""

    remembers = False

    @abstractmethod
    def segment(self, frames: Tensor) -> Tensor:
        """`N 1 H W` frames, which do not know of each other -> logits `N K H W`."""

    def init_state(self, batch_size: int) -> NoState:
        """Return the empty state."""
        return NoState()

    def _step(self, frame: Tensor, state: NoState) -> tuple[Tensor, NoState]:
        return self.segment(frame), state

    def _forward(self, frames: Tensor) -> Tensor:
        return self.segment(frames.flatten(0, 1)).unflatten(0, frames.shape[:2])

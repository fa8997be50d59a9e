"""A Segmenter whose frames are independent, for single-image networks."""

from abc import abstractmethod
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from echoseg.models.segmenter import Segmenter


class NoState(NamedTuple):
    """The empty state."""


class FrameSegmenter(Segmenter):
    """A Segmenter with an empty state; subclasses implement `segment`."""

    remembers = False

    @abstractmethod
    def segment(self, frames: Float[Tensor, "N 1 H W"]) -> Float[Tensor, "N K H W"]:
        """Compute the logits of independent frames."""

    def init_state(self, batch_size: int) -> NoState:
        """The empty state."""
        return NoState()

    def _step(
        self, frame: Float[Tensor, "B 1 H W"], state: NoState
    ) -> tuple[Float[Tensor, "B K H W"], NoState]:
        return self.segment(frame), state

    def _forward(self, frames: Float[Tensor, "B T 1 H W"]) -> Float[Tensor, "B T K H W"]:
        return self.segment(frames.flatten(0, 1)).unflatten(0, frames.shape[:2])

"""PyTorch as a backend: plain, compiled, or in bfloat16, on any device."""

from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Any

import numpy as np
import torch

from echoseg.inference.backends.base import State, StateShape, each_frame, state_of
from echoseg.models import windows
from echoseg.models.segmenter import Segmenter
from echoseg.nn.fused import fuse


class TorchSession:
    """A Segmenter in torch.

    Args:
        network: The Segmenter; its device is used.
        size_px: Side of a frame.
        bf16: Use torch's autocast to bfloat16.
        compiled: Use `torch.compile`; the first frame then takes a minute.
    """

    def __init__(
        self, network: Segmenter, size_px: int, *, bf16: bool = False, compiled: bool = False
    ) -> None:
        self.network, self.size_px, self.bf16 = network.eval(), size_px, bf16
        self.name = f"torch{' compiled' if compiled else ''} {'bf16' if bf16 else 'f32'}"
        self.device = next(network.parameters()).device
        self._step: Any = torch.compile(network.step) if compiled else self._fused().step

    def _fused(self) -> Any:
        return fuse(self.network, bf16=self.bf16) if self.network.streams else self.network

    @cached_property
    def _shape(self) -> StateShape:
        return state_of(self.network, self.size_px)

    @cached_property
    def _state_class(self) -> Any:
        return type(self.network.init_state(1))

    def first_state(self) -> State:
        """The state before the first frame."""
        return self._shape.first

    def step(self, frame: np.ndarray, state: State) -> tuple[np.ndarray, State]:
        """Segment one frame."""
        parts = (torch.from_numpy(part).to(self.device) for part in state)
        with (
            torch.inference_mode(),
            torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16),
        ):
            logits, after = self._step(
                torch.from_numpy(frame).to(self.device), self._state_class(*parts)
            )
        return logits.float().cpu().numpy(), tuple(
            part.to(torch.float32).cpu().numpy() if part.is_floating_point() else part.cpu().numpy()
            for part in after
        )

    def run(self, frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Segment a clip, also with a network that looks ahead."""
        if self.network.streams:
            yield from each_frame(self, frames)
            return
        tensors = (torch.from_numpy(frame).to(self.device) for frame in frames)
        outputs = windows.each_frame(self.network, tensors)
        while True:
            with torch.inference_mode():  # not held across a yield
                logits = next(outputs, None)
            if logits is None:
                return
            yield logits.float().cpu().numpy()

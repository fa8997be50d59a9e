"""A network one frame at a time, on any backend: the state goes in and comes out.

An `InferenceSession` is a Segmenter of one fixed size and a batch of one, given numpy arrays. Its
state is a tuple of arrays of constant shape: before the first frame it is the network's own first
state, expanded to the shape that it has later.
"""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

if TYPE_CHECKING:
    from echoseg.models.segmenter import Segmenter

State = tuple[np.ndarray, ...]
INSTALL = "pip install 'echoseg[runtime]'"


class InferenceSession(Protocol):
    """A loaded network that segments frame by frame."""

    name: str
    """Backend and precision, for instance `openvino bf16`."""
    size_px: int
    """Side of a frame."""

    def first_state(self) -> State:
        """The state before the first frame.

        Raises:
            ModelError: If the network looks ahead.
        """
        ...

    def step(self, frame: np.ndarray, state: State) -> tuple[np.ndarray, State]:
        """Segment a frame `1 1 S S` float32 in [0, 1] -> logits `1 K S S` and the new state."""
        ...

    def run(self, frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Segment a clip: frames `1 1 S S` -> logits `1 K S S`, one by one."""
        ...


class StateShape(NamedTuple):
    """Names of a state's parts, and their values before the first frame."""

    names: tuple[str, ...]
    first: State


def state_of(network: "Segmenter", size_px: int) -> StateShape:
    """The first state of a Segmenter, expanded to the shapes it has after a frame.

    Raises:
        ModelError: If the network looks ahead.
    """
    import torch

    with torch.no_grad():
        first = network.init_state(1)
        frame = torch.zeros(1, 1, size_px, size_px, device=next(network.parameters()).device)
        _, later = network.step(frame, first)
    parts = [
        part.expand(shape.shape).contiguous().cpu().numpy().copy()
        for part, shape in zip(first, later, strict=True)
    ]
    return StateShape(tuple(later._fields), tuple(parts))


def each_frame(session: InferenceSession, frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Step through a clip: frames `1 1 S S` -> logits `1 K S S`, one by one."""
    state = session.first_state()
    for frame in frames:
        logits, state = session.step(frame, state)
        yield logits

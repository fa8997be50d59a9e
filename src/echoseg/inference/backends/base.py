"""A network by one frame at a time, whatever runs it: state goes in and comes out.

An `InferenceSession` is a Segmenter of one fixed size and batch of one, given numpy arrays. Its
state is a tuple of arrays that never change shape: before the first frame it is the network's own
first state, spread to the shape that it has later.
"""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, Protocol

import numpy as np

from echoseg.errors import ModelError

State = tuple[np.ndarray, ...]
NEEDED = "pip install 'echoseg[runtime]'"


class InferenceSession(Protocol):
    """Something that runs a network frame by frame."""

    name: str
    """Runtime and precision, for instance `openvino bf16`."""
    size_px: int
    """Side of a frame."""

    def first_state(self) -> State:
        """Return the state before the first frame."""
        ...

    def step(self, frame: np.ndarray, state: State) -> tuple[np.ndarray, State]:
        """Take in a frame `1 1 S S` float32 in [0, 1] -> logits `1 K S S` and the new state."""
        ...


class StateShape(NamedTuple):
    """What is known of a state: its parts' names and values before the first frame."""

    names: tuple[str, ...]
    first: State


def state_of(network: Any, size_px: int) -> StateShape:
    """Return the first state of a Segmenter, spread to the shapes it has after a frame.

    Raises:
        ModelError: If the network cannot stream.
    """
    import torch

    if not network.streams:
        raise ModelError(
            f"{type(network).__name__} must take frames one by one, it looks ahead; give a model "
            "that streams"
        )
    with torch.no_grad():
        first = network.init_state(1)
        frame = torch.zeros(1, 1, size_px, size_px, device=next(network.parameters()).device)
        _, later = network.step(frame, first)
    parts = [
        part.expand(shape.shape).contiguous().cpu().numpy().copy()
        for part, shape in zip(first, later, strict=True)
    ]
    return StateShape(tuple(later._fields), tuple(parts))


def each_frame(stepper: InferenceSession, frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Yield the logits `1 K S S` of each frame `1 1 S S` of a clip."""
    state = stepper.first_state()
    for frame in frames:
        logits, state = stepper.step(frame, state)
        yield logits

"""Any Segmenter over any clip, frame by frame: by its state, or, where it looks ahead, by windows.

A model that takes only clips of n frames sees windows of n at frames 0, n, 2n, ...; the last one
ends with the clip, so it begins earlier where n does not divide the clip. A frame's logits are
those of the first window that holds it; nothing is averaged.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from echoseg.errors import ModelError


def each_frame(model: Any, frames: Iterable[Tensor]) -> Iterator[Tensor]:
    """Yield the logits `1 K H W` of each frame `1 1 H W`, in order.

    A streaming model answers before the next frame is asked for, another one after its window.

    Args:
        model: A Segmenter.
        frames: One clip, on the model's device.

    Raises:
        ModelError: If the clip has fewer frames than the model's window.
    """
    if not model.streams:
        yield from _by_windows(model, frames)
        return
    state = model.init_state(1)
    for frame in frames:
        logits, state = model.step(frame, state)
        yield logits


def each_still(model: Any, stills: Tensor) -> Tensor:
    """Return the logits `N K H W` of frames `N 1 H W` that have nothing to do with each other.

    A still is repeated for a model that takes only clips of some length.
    """
    clips = stills[:, None]
    if not model.streams:
        clips = clips.expand(-1, model.num_frames, -1, -1, -1)
    return model(clips)[:, 0]


def _by_windows(model: Any, frames: Iterable[Tensor]) -> Iterator[Tensor]:
    window: list[Tensor] = []
    num_frames, num_answered = 0, 0
    for num_frames, frame in enumerate(frames, 1):
        window = [*window, frame][-model.num_frames :]
        if num_frames - num_answered == model.num_frames:
            yield from model(torch.stack(window, 1))[0].split(1)
            num_answered = num_frames
    if 0 < num_frames < model.num_frames:
        raise ModelError(
            f"the clip must have at least {model.num_frames} frames for a model that takes them "
            f"so many at once, got {num_frames}; give a longer clip or a model that streams"
        )
    if left := num_frames - num_answered:
        yield from model(torch.stack(window, 1))[0, -left:].split(1)

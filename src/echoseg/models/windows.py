"""Run any Segmenter over any clip, by its state or, if it looks ahead, in windows.

A model of clips of n frames gets windows of n at frames 0, n, 2n, ...; the last window ends with
the clip, so it starts earlier where n does not divide the clip. A frame's logits are those of the
first window that contains it; nothing is averaged.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from echoseg.errors import ModelError


def each_frame(
    model: Any, frames: Iterable[Float[Tensor, "1 1 H W"]]
) -> Iterator[Float[Tensor, "1 K H W"]]:
    """Yield the logits of each frame, in order.

    A streaming model yields before it takes the next frame, others after each window.

    Args:
        model: A Segmenter.
        frames: One clip, on the model's device.

    Raises:
        ModelError: The clip has fewer frames than the model's window.
    """
    if not model.streams:
        yield from _by_windows(model, frames)
        return
    state = model.init_state(1)
    for frame in frames:
        logits, state = model.step(frame, state)
        yield logits


def each_still(model: Any, stills: Float[Tensor, "N 1 H W"]) -> Float[Tensor, "N K H W"]:
    """Compute the logits of independent frames.

    A model of clips of fixed length gets clips that repeat one frame.
    """
    clips = stills[:, None]
    if not model.streams:
        clips = clips.expand(-1, model.num_frames, -1, -1, -1)  # (N, T, 1, H, W)
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
            f"the clip must have at least {model.num_frames} frames, the window of the model, got "
            f"{num_frames}; give a longer clip or a model that streams"
        )
    if left := num_frames - num_answered:
        yield from model(torch.stack(window, 1))[0, -left:].split(1)

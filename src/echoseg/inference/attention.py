"""What the guidance attends to, frame by frame: the maps behind `echoseg attention`.

A place of the picture asks, every place answers with a weight; the weights sum to 1. They are read
out of the state that the network carries (`nn.guidance`), so nothing is hooked into it. `alone` are
the weights of a frame without any past, `guided` those that it ends up with.
"""

from dataclasses import dataclass

import numpy as np

from echoseg.clip import Clip, Label
from echoseg.errors import MeasurementError, ModelError
from echoseg.inference.analyzer import Analyzer
from echoseg.preprocess.sector import find_sector


@dataclass(frozen=True, kw_only=True, slots=True)
class AttentionMaps:
    """A clip as the network saw it, and where one place of it looked."""

    frames: np.ndarray
    """`T S S` float in [0, 1], the network's square."""
    labels: np.ndarray
    """`T S S` label maps."""
    asking: tuple[int, int]
    """(row, column) of the asking token's middle, in pixels of the square."""
    alone: np.ndarray
    """`T h w` weights without any past."""
    guided: np.ndarray
    """`T h w` weights with the past's guidance."""
    darkened: int | None
    """Frame that was blacked out on purpose."""


def watch_attention(analyzer: Analyzer, clip: Clip, *, darken: int | None = None) -> AttentionMaps:
    """Return where the middle of the left ventricle looks on each frame, mean over the heads.

    Args:
        analyzer: With a network that has guidance (`mssnet`).
        clip: Any clip.
        darken: A frame to black out first, to see what the guidance does then.

    Raises:
        ModelError: If the network carries no attention weights.
        MeasurementError: If no sector, or no ventricle on the first frame, is found.
    """
    import torch

    from echoseg.models.mssnet import MSSNet

    network = analyzer.network
    if not isinstance(network, MSSNet):
        raise ModelError(
            f"model {analyzer.model_card.name} is a {type(network).__name__} and carries no "
            "attention weights; give one whose architecture is mssnet"
        )
    sector = find_sector(clip)
    if sector is None:
        raise MeasurementError("no ultrasound sector found in the clip; give a moving echo clip")
    frames, labels, alone, guided = [], [], [], []
    with torch.inference_mode():
        state = network.init_state(1)
        for index, square in enumerate(analyzer.squares(clip, sector)[1]):
            frame = torch.zeros_like(square) if index == darken else square
            logits, state = network.step(frame, state)
            _, fresh = network.step(frame, network.init_state(1))
            frames.append(frame[0, 0].cpu().numpy())
            labels.append(logits[0].argmax(0).cpu().numpy())
            for maps, weights in ((alone, fresh.weights), (guided, state.weights)):
                maps.append(weights[0].mean(0).float().cpu().numpy())
    asking, token, grid = _middle_of_ventricle(labels[0], num_tokens=alone[0].shape[0])
    return AttentionMaps(
        frames=np.stack(frames),
        labels=np.stack(labels),
        asking=asking,
        alone=np.stack([weights[token].reshape(grid) for weights in alone]),
        guided=np.stack([weights[token].reshape(grid) for weights in guided]),
        darkened=darken,
    )


def _middle_of_ventricle(
    labels: np.ndarray, num_tokens: int
) -> tuple[tuple[int, int], int, tuple[int, int]]:
    """Return the middle of the ventricle's token in pixels, its number, and the token grid."""
    inside = np.argwhere(labels == Label.LV_CAVITY)
    if len(inside) == 0:
        raise MeasurementError("no left ventricle found on the first frame; give an A4C clip")
    side = round(num_tokens**0.5)  # the square is square, and so is its grid
    row, column = (inside.mean(0) * side / len(labels)).astype(int)
    pixels = [int((each + 0.5) * len(labels) / side) for each in (row, column)]
    return (pixels[0], pixels[1]), int(row * side + column), (side, side)

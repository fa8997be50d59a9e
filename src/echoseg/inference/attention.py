"""Attention of the guidance per frame: the maps behind `echoseg attention`.

The weights of one query token over all tokens sum to 1. They are part of the network's state
(`nn.guidance`), so no hooks are needed. `alone` are the weights of a frame without any past,
`guided` those after mixing with the past; a network that carries no weights has no such.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from echoseg.clip import Clip, Label
from echoseg.errors import MeasurementError, ModelError
from echoseg.inference.analyzer import Analyzer
from echoseg.preprocess.sector import find_sector


@dataclass(frozen=True, kw_only=True, slots=True)
class AttentionMaps:
    """Input of the network, its masks, and the attention of one query token."""

    frames: np.ndarray
    """`T S S` float in [0, 1], the network's input."""
    labels: np.ndarray
    """`T S S` label maps."""
    query: tuple[int, int]
    """(row, column) of the query token's centre, in pixels of the square."""
    alone: np.ndarray
    """`T h w` weights without any past."""
    guided: np.ndarray | None
    """`T h w` weights with the past's guidance; None: the network carries no weights."""
    darkened: int | None
    """Index of the frame that was blacked out; None: none."""


def watch_attention(analyzer: Analyzer, clip: Clip, *, darken: int | None = None) -> AttentionMaps:
    """Attention of the token at the centre of the left ventricle, mean over the heads.

    Args:
        analyzer: With a network that has guidance (`mssnet`).
        clip: Any clip.
        darken: Index of a frame to black out, to see how the guidance reacts.

    Raises:
        ModelError: If the network has no attention weights in its state.
        MeasurementError: If no sector, or no ventricle on the first frame, is found.
    """
    import torch

    from echoseg.models.mssnet import MSSNet

    network = analyzer.network
    if not isinstance(network, MSSNet) or network.config.memory == "none":
        raise ModelError(
            f"model {analyzer.model_card.name} is a {type(network).__name__} that has no attention "
            "between frames; give one of architecture mssnet with another memory than none"
        )
    carries = network.config.memory == "guidance"
    watched = network if carries else _with_weights_in_its_state(network)
    sector = find_sector(clip)
    if sector is None:
        raise MeasurementError("no ultrasound sector found in the clip; give a moving echo clip")
    frames, labels, alone, guided = [], [], [], []
    with torch.inference_mode():
        state = network.init_state(1)
        for index, square in enumerate(map(analyzer.transform(clip, sector).apply, clip.frames)):
            frame = torch.from_numpy(square).to(next(network.parameters()).device)
            frame = torch.zeros_like(frame) if index == darken else frame
            logits, state = network.step(frame, state)
            _, fresh = watched.step(frame, watched.init_state(1))
            frames.append(frame[0, 0].cpu().numpy())
            labels.append(logits[0].argmax(0).cpu().numpy())
            for maps, weights in ((alone, fresh.weights), (guided, state.weights)):
                if maps is alone or carries:
                    maps.append(_all_pairs(weights.float()).cpu().numpy())
    query, token, grid = _ventricle_token(labels[0], num_tokens=alone[0].shape[0])
    return AttentionMaps(
        frames=np.stack(frames),
        labels=np.stack(labels),
        query=query,
        alone=np.stack([weights[token].reshape(grid) for weights in alone]),
        guided=np.stack([weights[token].reshape(grid) for weights in guided]) if carries else None,
        darkened=darken,
    )


def _with_weights_in_its_state(network: Any) -> Any:
    """The same MSSNet with memory=guidance, which has the same parameters."""
    from echoseg.models.mssnet import MSSNet

    config = network.config.model_dump() | {"memory": "guidance"}
    twin = MSSNet(**config).to(next(network.parameters()).device).eval()
    twin.load_state_dict(network.state_dict())
    return twin


def _all_pairs(weights: Any) -> Any:
    """Weights of the state of an MSSNet, mean over the heads, token by token: `N N`."""
    from echoseg.nn.guidance import RADIUS
    from echoseg.nn.local_windows import LocalWindows

    height, width = weights.shape[1:3]
    windows = LocalWindows(height, width, RADIUS, weights.device)
    rows = weights.unflatten(3, (-1, windows.side**2)).mean(3)  # (1, H, W, D)
    values = weights.new_ones(height * width).diag()  # each token holds its own number
    values = values.view(1, height, width, -1)
    return windows.read(rows, windows.keys(values))[0].flatten(0, 1)


def _ventricle_token(
    labels: np.ndarray, num_tokens: int
) -> tuple[tuple[int, int], int, tuple[int, int]]:
    """Centre of the ventricle's token in pixels, its index, and the (rows, columns) of tokens."""
    inside = np.argwhere(labels == Label.LV_CAVITY)
    if len(inside) == 0:
        raise MeasurementError("no left ventricle found on the first frame; give an A4C clip")
    side = round(num_tokens**0.5)  # the input is square, and so is the token grid
    row, column = (inside.mean(0) * side / len(labels)).astype(int)
    pixels = [int((each + 0.5) * len(labels) / side) for each in (row, column)]
    return (pixels[0], pixels[1]), int(row * side + column), (side, side)

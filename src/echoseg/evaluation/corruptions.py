"""Artificial corruption of whole frames, and of records, for training and for robustness tests.

- dropout: the frame, or most of the sector, is black (the probe lost contact with the skin);
- speckle burst: the frame is mostly noise (interference);
- gain jump: the frame is much darker or brighter than its neighbours.

Artefacts that are local and last are in `artefacts`.
"""

from dataclasses import replace
from enum import StrEnum
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from echoseg.clip import Annotation, Clip
from echoseg.data import Record
from echoseg.evaluation.artefacts import MIN_GREY, with_gain


class Corruption(StrEnum):
    """Kind of corruption."""

    DROPOUT = "dropout"
    SPECKLE_BURST = "speckle_burst"
    GAIN_JUMP = "gain_jump"


def corrupt_frames(
    frames: Tensor,
    prob: float,
    generator: torch.Generator,
    kinds: tuple[Corruption, ...] = tuple(Corruption),
) -> tuple[Tensor, Tensor]:
    """Corrupt randomly chosen frames, never the first of a clip.

    Args:
        frames: `N T H W` float in [0, 1].
        prob: Probability that a frame is corrupted.
        generator: Random generator of every choice, on the device of the frames.
        kinds: Kinds to choose from, with equal probabilities.

    Returns:
        Frames `N T H W`, and how far each pixel is hidden, `N T H W` in [0, 1]; see `artefacts`.
    """
    corrupted, hidden = frames.clone(), torch.zeros_like(frames)
    draws = torch.rand(6, *frames.shape[:2], generator=generator, device=frames.device)
    is_hit = draws[0] < prob
    is_hit[:, 0] = False
    kind = (draws[1] * len(kinds)).long()
    for index, corruption in enumerate(kinds):
        clips, times = (is_hit & (kind == index)).nonzero(as_tuple=True)
        if len(clips):
            corrupted[clips, times], hidden[clips, times] = _CORRUPT[corruption](
                frames[clips, times], draws[2:, clips, times, None, None], generator
            )
    return corrupted, hidden


def corrupt_records(records: tuple[Record, ...], prob: float) -> tuple[Record, ...]:
    """Records whose frames are corrupted when loaded, identically at each load.

    Args:
        records: The clips; the random generator of a clip is seeded with its index.
        prob: Probability that a frame, except the first of a clip, is corrupted.
    """
    return tuple(
        replace(record, read=partial(_read_corrupted, record, prob, index))
        for index, record in enumerate(records)
    )


def _read_corrupted(record: Record, prob: float, seed: int) -> tuple[Clip, Annotation | None]:
    clip, annotation = record.load()
    corrupted, _ = corrupt_frames(_as_tensor(clip), prob, torch.Generator().manual_seed(seed))
    return _with_frames(clip, corrupted), annotation


def _as_tensor(clip: Clip) -> Tensor:
    return torch.tensor(clip.frames)[None].float() / 255  # (1, T, H, W)


def _with_frames(clip: Clip, frames: Tensor) -> Clip:
    return replace(clip, frames=(255 * frames[0]).round().numpy().astype(np.uint8))


def _between(low: float, high: float, draws: Tensor) -> Tensor:
    return low + (high - low) * draws


def _drop_out(frames: Tensor, draws: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Black out whole frames `n H W`, or the columns on one side of a slanted line."""
    rows, columns = (torch.linspace(-0.5, 0.5, n, device=frames.device) for n in frames.shape[1:])
    across = columns - _between(-0.25, 0.25, draws[0])
    away = across + rows[:, None] * _between(-0.6, 0.6, draws[1])
    away = torch.where(draws[2] < 0.5, away, -away)
    hidden = torch.where(draws[3] < 0.5, 1.0, torch.sigmoid(40 * away))
    return frames * (1 - hidden), hidden


def _burst(frames: Tensor, draws: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Blend speckle of random grain size into frames `n H W`, up to replacing them."""
    rows, columns = frames.shape[1:]
    grain = 1 + int(4 * draws[0].flatten()[0])  # one for all
    waves = torch.randn(
        (len(frames), 2, -(-rows // grain), -(-columns // grain)),
        generator=generator,
        device=frames.device,
    )
    waves = functional.interpolate(waves, size=(rows, columns), mode="bilinear")
    noise = 0.35 * waves.square().sum(1).sqrt()
    hidden = _between(0.6, 1.0, draws[1]) * (frames > MIN_GREY)
    return (frames * (1 - hidden) + hidden * noise).clamp(0, 1), hidden


def _jump(frames: Tensor, draws: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Multiply by 0.1 to 0.4 or by 2 to 4."""
    gain = torch.where(draws[0] < 0.5, _between(0.1, 0.4, draws[1]), _between(2.0, 4.0, draws[1]))
    return with_gain(frames, gain)


_CORRUPT = {
    Corruption.DROPOUT: _drop_out,
    Corruption.SPECKLE_BURST: _burst,
    Corruption.GAIN_JUMP: _jump,
}

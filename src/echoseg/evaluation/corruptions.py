"""Artificial corruption of single frames, for training and for robustness tests.

- dropout: the frame, or most of the sector, is black (the probe lost contact with the skin);
- speckle burst: the frame is mostly noise (interference);
- gain jump: the frame is much darker or brighter than its neighbours.
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
        generator: Random generator of every choice.
        kinds: Kinds to choose from, with equal probabilities.

    Returns:
        Frames `N T H W`, and which were corrupted, `N T` bool.
    """
    chosen = torch.rand(frames.shape[:2], generator=generator) < prob
    chosen[:, 0] = False
    corrupted = frames.clone()
    for clip, time in chosen.nonzero().tolist():
        kind = kinds[int(torch.randint(len(kinds), (), generator=generator))]
        corrupted[clip, time] = _CORRUPT[kind](frames[clip, time], generator)
    return corrupted, chosen


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
    frames = torch.tensor(clip.frames)[None].float() / 255  # (1, T, H, W)
    corrupted, _ = corrupt_frames(frames, prob, torch.Generator().manual_seed(seed))
    pixels = (255 * corrupted[0]).round().numpy().astype(np.uint8)
    return replace(clip, frames=pixels), annotation


def _uniform(low: float, high: float, generator: torch.Generator) -> float:
    return low + (high - low) * float(torch.rand((), generator=generator))


def _drop_out(frame: Tensor, generator: torch.Generator) -> Tensor:
    """Black out the whole frame, or the columns on one side of a slanted line."""
    if torch.rand((), generator=generator) < 0.5:
        return torch.zeros_like(frame)
    rows, columns = frame.shape
    across = torch.linspace(0, 1, columns) - _uniform(0.25, 0.75, generator)
    down = torch.linspace(-0.5, 0.5, rows)[:, None] * _uniform(-0.6, 0.6, generator)
    mask = torch.sigmoid((across + down) * 40)
    return frame * (mask if torch.rand((), generator=generator) < 0.5 else 1 - mask)


def _burst(frame: Tensor, generator: torch.Generator) -> Tensor:
    """Blend speckle of random grain size into the frame, up to replacing it."""
    grain = int(torch.randint(1, 5, (), generator=generator))
    rows, columns = frame.shape
    size = (2, -(-rows // grain), -(-columns // grain))
    waves = functional.interpolate(
        torch.randn(size, generator=generator)[None], size=(rows, columns), mode="bilinear"
    )[0]
    noise = 0.35 * waves.square().sum(0).sqrt()
    weight = _uniform(0.6, 1.0, generator)
    return ((1 - weight) * frame + weight * noise * (frame > 0.02)).clamp(0, 1)


def _jump(frame: Tensor, generator: torch.Generator) -> Tensor:
    """Multiply by 0.1 to 0.4 or by 2 to 4."""
    if torch.rand((), generator=generator) < 0.5:
        return frame * _uniform(0.1, 0.4, generator)
    return (frame * _uniform(2.0, 4.0, generator)).clamp(0, 1)


_CORRUPT = {
    Corruption.DROPOUT: _drop_out,
    Corruption.SPECKLE_BURST: _burst,
    Corruption.GAIN_JUMP: _jump,
}

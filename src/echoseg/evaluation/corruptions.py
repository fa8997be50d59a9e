"""What goes wrong in single frames of a real clip, done on purpose: to train with, to test with.

- dropout: the frame is black, or most of the sector is (contact with the skin was lost);
- speckle burst: the frame is all but noise (an arc, a cough, a burst of interference);
- gain jump: the frame is much darker or brighter than its neighbours.
"""

from enum import StrEnum

import torch
from torch import Tensor
from torch.nn import functional


class Corruption(StrEnum):
    """What goes wrong."""

    DROPOUT = "dropout"
    SPECKLE_BURST = "speckle_burst"
    GAIN_JUMP = "gain_jump"


def corrupt_frames(
    frames: Tensor,
    share: float,
    generator: torch.Generator,
    kinds: tuple[Corruption, ...] = tuple(Corruption),
) -> tuple[Tensor, Tensor]:
    """Spoil frames drawn at random, never the first of a clip.

    Args:
        frames: `N T H W` float in [0, 1].
        share: Probability that a frame is spoilt.
        generator: Source of every draw.
        kinds: What may go wrong, one of them a frame, all as likely.

    Returns:
        Frames `N T H W`, and which were spoilt, `N T` bool.
    """
    hit = torch.rand(frames.shape[:2], generator=generator) < share
    hit[:, 0] = False
    spoilt = frames.clone()
    for clip, time in hit.nonzero().tolist():
        kind = kinds[int(torch.randint(len(kinds), (), generator=generator))]
        spoilt[clip, time] = _SPOIL[kind](frames[clip, time], generator)
    return spoilt, hit


def _uniform(low: float, high: float, generator: torch.Generator) -> float:
    return low + (high - low) * float(torch.rand((), generator=generator))


def _drop_out(frame: Tensor, generator: torch.Generator) -> Tensor:
    """Black out the whole, or the columns on one side of a slanted line."""
    if torch.rand((), generator=generator) < 0.5:
        return torch.zeros_like(frame)
    rows, columns = frame.shape
    across = torch.linspace(0, 1, columns) - _uniform(0.25, 0.75, generator)
    down = torch.linspace(-0.5, 0.5, rows)[:, None] * _uniform(-0.6, 0.6, generator)
    kept = torch.sigmoid((across + down) * 40)
    return frame * (kept if torch.rand((), generator=generator) < 0.5 else 1 - kept)


def _burst(frame: Tensor, generator: torch.Generator) -> Tensor:
    """Lay speckle of a random grain over the frame, up to hiding it."""
    grain = int(torch.randint(1, 5, (), generator=generator))
    rows, columns = frame.shape
    size = (2, -(-rows // grain), -(-columns // grain))
    waves = functional.interpolate(
        torch.randn(size, generator=generator)[None], size=(rows, columns), mode="bilinear"
    )[0]
    noise = 0.35 * waves.square().sum(0).sqrt()
    part = _uniform(0.6, 1.0, generator)
    return ((1 - part) * frame + part * noise * (frame > 0.02)).clamp(0, 1)


def _jump(frame: Tensor, generator: torch.Generator) -> Tensor:
    """Multiply by 0.1 to 0.4 or by 2 to 4."""
    if torch.rand((), generator=generator) < 0.5:
        return frame * _uniform(0.1, 0.4, generator)
    return (frame * _uniform(2.0, 4.0, generator)).clamp(0, 1)


_SPOIL = {
    Corruption.DROPOUT: _drop_out,
    Corruption.SPECKLE_BURST: _burst,
    Corruption.GAIN_JUMP: _jump,
}

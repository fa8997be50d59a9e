"""Augmentation: vary a clip in training.

All take tensors `N T H W` or `T H W`; a draw is the same for every frame of a clip, except noise.
"""

import math
from dataclasses import asdict, dataclass

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True, kw_only=True, slots=True)
class AugmentConfig:
    """How far training clips are varied; each value is a half range unless said."""

    rotation_deg: float = 18.0
    log_zoom: float = 0.28
    shift: float = 0.10
    """Share of the side."""
    shear: float = 0.12
    warp: float = 0.03
    """Standard deviation of a smooth random warp, share of the side."""
    log_gamma: float = 0.45
    gain_field: float = 0.35
    speckle: float = 0.18
    """Largest standard deviation of multiplied noise."""
    blur_share: float = 0.35
    """Share of clips that are blurred."""
    hidden_share: float = 0.35
    """Share of clips with a box of grey laid over them."""

    def scaled(self, strength: float) -> "AugmentConfig":
        """Return the same with every range and share times `strength`."""
        return AugmentConfig(**{name: strength * value for name, value in asdict(self).items()})


def _uniform(num: int, half_range: float, generator: torch.Generator) -> Tensor:
    return (2 * torch.rand(num, generator=generator) - 1) * half_range


def sampling_grid(num: int, size: int, config: AugmentConfig, generator: torch.Generator) -> Tensor:
    """Draw one affine map with a smooth warp on it for each clip.

    Returns:
        `N S S 2`: where each pixel of the new frame lies in the old, in [-1, 1] (x, y).
    """
    angle = _uniform(num, math.radians(config.rotation_deg), generator)
    zoom = torch.exp(_uniform(num, config.log_zoom, generator))
    aspect = torch.exp(_uniform(num, 0.1, generator))
    shear = _uniform(num, config.shear, generator)
    cos, sin = torch.cos(angle), torch.sin(angle)
    shift_x, shift_y = (_uniform(num, 2 * config.shift, generator) for _ in range(2))
    theta = torch.stack(
        [
            torch.stack([cos * zoom * aspect, -sin * zoom + shear, shift_x], 1),
            torch.stack([sin * zoom, cos * zoom / aspect, shift_y], 1),
        ],
        1,
    )
    grid = functional.affine_grid(theta, [num, 1, size, size], align_corners=False)
    nodes = torch.randn(num, 2, 5, 5, generator=generator) * config.warp * 2
    warp = functional.interpolate(nodes, size=(size, size), mode="bicubic", align_corners=True)
    return grid + warp.movedim(1, -1)


def move_frames(frames: Tensor, grid: Tensor) -> Tensor:
    """Sample maps `N C H W` at a grid `N S S 2`, between pixels; 0 outside."""
    return functional.grid_sample(frames, grid, mode="bilinear", align_corners=False)


def move_masks(masks: Tensor, grid: Tensor) -> Tensor:
    """Sample label maps `N T H W` at a grid `N S S 2`, the nearest pixel; 0 outside."""
    moved = functional.grid_sample(masks.float(), grid, mode="nearest", align_corners=False)
    return moved.to(masks.dtype)


def vary_grey(frames: Tensor, config: AugmentConfig, generator: torch.Generator) -> Tensor:
    """Vary gain, contrast, grain and sharpness of frames `N T S S`, and hide parts of some."""
    return _hide_boxes(_vary_levels(frames, config, generator), config, generator)


def _vary_levels(frames: Tensor, config: AugmentConfig, generator: torch.Generator) -> Tensor:
    num, _, size, _ = frames.shape
    gamma = torch.exp(_uniform(num, config.log_gamma, generator)).view(-1, 1, 1, 1)
    nodes = torch.randn(num, 1, 4, 4, generator=generator) * config.gain_field
    gain = torch.exp(functional.interpolate(nodes, size=(size, size), mode="bicubic"))
    level = 1 + _uniform(num, 0.3, generator).view(-1, 1, 1, 1)
    offset = _uniform(num, 0.08, generator).view(-1, 1, 1, 1)
    inside = frames > 0.02  # the black around the sector stays black
    varied = frames.clamp(1e-4, 1) ** gamma * gain * level + offset * inside
    strength = torch.rand(num, 1, 1, 1, generator=generator) * config.speckle
    noise = torch.randn(frames.shape, generator=generator)
    if torch.rand((), generator=generator) < 0.5:  # coarse grain, as of a longer pulse
        half = torch.randn(num, frames.shape[1], size // 2, size // 2, generator=generator)
        noise = functional.interpolate(half, size=(size, size), mode="bilinear") * 1.5
    varied = varied * (1 + strength * noise)
    blurred = functional.avg_pool2d(varied, 3, 1, 1)
    is_blurred = torch.rand(num, 1, 1, 1, generator=generator) < config.blur_share
    return torch.where(is_blurred, blurred, varied).clamp(0, 1)


def _hide_boxes(frames: Tensor, config: AugmentConfig, generator: torch.Generator) -> Tensor:
    size = frames.shape[-1]
    frames = frames.clone()
    for clip_frames in frames:
        if torch.rand((), generator=generator) < config.hidden_share:
            rows, columns = (torch.rand(2, generator=generator) * 0.25 * size).int().tolist()
            top, left = (torch.rand(2, generator=generator) * 0.8 * size).int().tolist()
            grey = torch.rand((), generator=generator) * 0.4
            clip_frames[:, top : top + rows + 4, left : left + columns + 4] = grey
    return frames


def augment(
    frames: Tensor, masks: Tensor, size: int, config: AugmentConfig, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Vary clips for training: geometry, grey levels, noise, hidden parts.

    Args:
        frames: `N T H W` float in [0, 1].
        masks: `N T H W` integer labels.
        size: Side of the square returned.
        config: How far.
        generator: Source of every draw; the same seed gives the same clips.

    Returns:
        Frames and masks, `N T S S`.
    """
    grid = sampling_grid(frames.shape[0], size, config, generator)
    return vary_grey(move_frames(frames, grid), config, generator), move_masks(masks, grid)

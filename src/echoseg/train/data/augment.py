"""Augmentation of training clips: geometry, intensity, noise, cutout.

Draws are the same for every frame of a clip, except noise.
"""

import math

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor
from torch.nn import functional


class AugmentConfig(BaseModel):
    """Ranges of the augmentation; each value is half a range unless said otherwise."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rotation_deg: float = 18.0
    log_zoom: float = 0.28
    shift: float = 0.10
    """Fraction of the side."""
    shear: float = 0.12
    warp: float = 0.03
    """Standard deviation of a smooth random warp, fraction of the side."""
    log_gamma: float = 0.45
    gain_field: float = 0.35
    speckle: float = 0.18
    """Maximum standard deviation of multiplicative noise."""
    blur_prob: float = 0.35
    """Probability that a clip is blurred."""
    coarse_prob: float = 0.2
    """Probability that a clip is as of a picture of down to 0.4 times the side."""
    black_prob: float = 0.2
    """Probability that a clip's dark grays, up to 0.25 of white, are cut off to black."""
    cutout_prob: float = 0.35
    """Probability that a gray box covers a part of a clip."""
    mirror_prob: float = 0.0
    """Probability that left and right of a clip change places; not scaled."""

    def scaled(self, strength: float) -> "AugmentConfig":
        """All ranges and the other probabilities multiplied by `strength`."""
        scaled = {name: strength * value for name, value in self if name != "mirror_prob"}
        return self.model_copy(update=scaled)


def _uniform(num: int, half_range: float, generator: torch.Generator) -> Tensor:
    return (2 * _rand(num, generator) - 1) * half_range


def _rand(shape: int | tuple[int, ...], generator: torch.Generator) -> Tensor:
    return torch.rand(shape, generator=generator, device=generator.device)


def _randn(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=generator, device=generator.device)


def sampling_grid(num: int, size: int, config: AugmentConfig, generator: torch.Generator) -> Tensor:
    """Draw one affine map with a smooth warp on it for each clip, on the generator's device.

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
    mirrored = _rand(num, generator) < config.mirror_prob
    theta[:, :, 0] *= torch.where(mirrored, -1.0, 1.0)[:, None]
    grid = functional.affine_grid(theta, [num, 1, size, size], align_corners=False)
    nodes = _randn((num, 2, 5, 5), generator) * config.warp * 2
    warp = functional.interpolate(nodes, size=(size, size), mode="bicubic", align_corners=True)
    return grid + warp.movedim(1, -1)


def warp_frames(frames: Tensor, grid: Tensor) -> Tensor:
    """Sample maps `N ... H W` at a grid `N S S 2`, between pixels; 0 outside."""
    flat = frames.flatten(1, -3)  # (N, C, H, W)
    warped = functional.grid_sample(flat, grid, mode="bilinear", align_corners=False)
    return warped.unflatten(1, frames.shape[1:-2])


def warp_probs(probs: Tensor, grid: Tensor) -> Tensor:
    """Sample probabilities `N T K H W` at a grid `N S S 2`; background, label 0, outside."""
    outside = torch.zeros_like(probs[:1, :1, :, :1, :1])
    outside[:, :, 0] = 1
    return warp_frames(probs - outside, grid) + outside


def warp_masks(masks: Tensor, grid: Tensor) -> Tensor:
    """Sample label maps `N T H W` at a grid `N S S 2`, the nearest pixel; 0 outside."""
    warped = functional.grid_sample(masks.float(), grid, mode="nearest", align_corners=False)
    return warped.to(masks.dtype)


def augment_intensity(frames: Tensor, config: AugmentConfig, generator: torch.Generator) -> Tensor:
    """Change gain, contrast, speckle and sharpness of frames `N T S S`; cover parts of some."""
    varied = _coarsen(_augment_levels(frames, config, generator), config, generator)
    return _cutout(_cut_blacks(varied, config, generator), config, generator)


def _augment_levels(frames: Tensor, config: AugmentConfig, generator: torch.Generator) -> Tensor:
    num, _, size, _ = frames.shape
    gamma = torch.exp(_uniform(num, config.log_gamma, generator)).view(-1, 1, 1, 1)
    nodes = _randn((num, 1, 4, 4), generator) * config.gain_field
    gain = torch.exp(functional.interpolate(nodes, size=(size, size), mode="bicubic"))
    level = 1 + _uniform(num, 0.3, generator).view(-1, 1, 1, 1)
    offset = _uniform(num, 0.08, generator).view(-1, 1, 1, 1)
    inside = frames > 0.02  # the black around the sector stays black
    varied = frames.clamp(1e-4, 1) ** gamma * gain * level + offset * inside
    strength = _rand((num, 1, 1, 1), generator) * config.speckle
    noise = _randn(tuple(frames.shape), generator)
    if _rand((), generator) < 0.5:  # coarse grain, as of a longer pulse
        half = _randn((num, frames.shape[1], size // 2, size // 2), generator)
        noise = functional.interpolate(half, size=(size, size), mode="bilinear") * 1.5
    varied = varied * (1 + strength * noise)
    blurred = functional.avg_pool2d(varied, 3, 1, 1)
    is_blurred = _rand((num, 1, 1, 1), generator) < config.blur_prob
    return torch.where(is_blurred, blurred, varied).clamp(0, 1)


def _coarsen(frames: Tensor, config: AugmentConfig, generator: torch.Generator) -> Tensor:
    """Take detail away from some clips, all to one side length a batch."""
    side = int(frames.shape[-1] * (0.4 + 0.4 * float(_rand((), generator))))
    is_coarse = _rand((len(frames), 1, 1, 1), generator) < config.coarse_prob
    if not is_coarse.any():
        return frames
    few = functional.interpolate(frames, size=(side, side), mode="area")
    coarse = functional.interpolate(few, size=frames.shape[-2:], mode="bilinear")
    return torch.where(is_coarse, coarse, frames)


def _cut_blacks(frames: Tensor, config: AugmentConfig, generator: torch.Generator) -> Tensor:
    """Cut off the dark grays of some clips, as a low dynamic range does."""
    level, chance = _rand((2, len(frames)), generator).view(2, -1, 1, 1, 1)
    level = 0.25 * level * (chance < config.black_prob)
    return ((frames - level) / (1 - level)).clamp(min=0)


def _cutout(frames: Tensor, config: AugmentConfig, generator: torch.Generator) -> Tensor:
    num, _, size, _ = frames.shape
    draws = _rand((6, num), generator)[:, :, None, None]
    rows, columns = (4 + (0.25 * size * each).floor() for each in draws[:2])
    top, left = ((0.8 * size * each).floor() for each in draws[2:4])
    places = torch.arange(size, device=frames.device)
    covered = (places - left >= 0) & (places - left < columns)  # (N, 1, S)
    covered = covered & ((places[:, None] - top >= 0) & (places[:, None] - top < rows))
    covered = covered & (draws[4] < config.cutout_prob)  # (N, S, S)
    return torch.where(covered[:, None], 0.4 * draws[5][:, None], frames)

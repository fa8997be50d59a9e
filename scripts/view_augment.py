"""Pictures for the view check, changed at random: geometry, sector, grey map, noise, sharpness.

The changes are wide on purpose: CAMUS is one machine, and the check must hold on others.
"""

import torch
from torch import Tensor
from torch.nn import functional

from echoseg.quality.view_net import SIZE_PX


def augment(pictures: Tensor, generator: torch.Generator, strength: float = 1.0) -> Tensor:
    """Change pictures `N 1 W W` in [0, 1]; returns `N 1 64 64`."""
    x = _moved(pictures, generator, strength)
    x = _cut(x, generator)
    x = regreyed(x, generator, strength)
    x = _sharpness(x, generator)
    return _drawn_over(x, generator)


def _draw(num: int, low: float, high: float, generator: torch.Generator) -> Tensor:
    return low + (high - low) * torch.rand(num, 1, 1, 1, generator=generator)


def _moved(x: Tensor, generator: torch.Generator, strength: float) -> Tensor:
    """Turned, moved, zoomed, stretched, sheared."""
    num = len(x)

    def draw(low: float, high: float) -> Tensor:
        return _draw(num, strength * low, strength * high, generator)[:, 0, 0, 0]

    angle, scale, wide = torch.deg2rad(draw(-15, 15)), 2 ** draw(-0.5, 0.32), 2 ** draw(-0.3, 0.3)
    shear = draw(-0.12, 0.12)
    cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
    rows = [
        torch.stack([cos * wide, -sin + shear, draw(-0.14, 0.14)], 1),
        torch.stack([sin * wide, cos, draw(-0.18, 0.18)], 1),
    ]
    grid = functional.affine_grid(torch.stack(rows, 1), [num, 1, SIZE_PX, SIZE_PX], False)
    return functional.grid_sample(x, grid, align_corners=False)


def _cut(x: Tensor, generator: torch.Generator) -> Tensor:
    """A third get a narrower sector, or lose their lowest or uppermost rows."""
    num = len(x)
    y, across = torch.meshgrid(
        torch.linspace(0, 1, SIZE_PX), torch.linspace(-0.5, 0.5, SIZE_PX), indexing="ij"
    )
    tip, half = _draw(num, -0.15, 0.02, generator), _draw(num, 0.5, 1.0, generator)
    is_narrow = torch.rand(num, 1, 1, 1, generator=generator) < 0.3
    inside = across.abs() < half * (y - tip).clamp(min=0)
    depth, top = _draw(num, 0.7, 1.6, generator), _draw(num, -0.4, 0.12, generator)
    return x * (inside | ~is_narrow) * (y < depth) * (y > top)


def regreyed(x: Tensor, generator: torch.Generator, strength: float) -> Tensor:
    """Gain by place, depth and angle, clipped blacks, gamma, speckle of other sizes."""
    num = len(x)

    def normal(side: int) -> Tensor:
        nodes = torch.randn(num, 1, side, side, generator=generator)
        return functional.interpolate(nodes, x.shape[2:], mode="bicubic", align_corners=False)

    def draw(low: float, high: float) -> Tensor:
        return _draw(num, low, high, generator)

    lit = x > 0
    depth = torch.linspace(-1, 1, x.shape[2]).view(1, 1, -1, 1)
    x = x * 2 ** (strength * (draw(0, 0.5) * normal(4) + draw(-0.6, 0.6) * depth))
    x = x.clamp(0, 1) ** (2 ** draw(-1, 1))
    black = draw(-0.4, 0.45).clamp(min=0) * strength
    x = (x - black * x.flatten(1).quantile(0.9, 1).view(-1, 1, 1, 1)) * 2 ** draw(-0.7, 0.8)
    for side in (16, 36, 64):
        x = x * (1 + draw(-0.25, 0.3).clamp(min=0) * strength * normal(side))
    x = x + draw(-0.06, 0.08).clamp(min=0) * normal(32)
    # streaks along the beam: shadows and drop-out
    streak = torch.randn(num, 1, 1, 9, generator=generator) + draw(-2.2, 0.4)
    streak = functional.interpolate(streak, x.shape[2:], mode="bicubic", align_corners=False)
    return torch.where(lit, x * (1 - 0.7 * streak.clamp(0, 1)), x).clamp(0, 1)


def _sharpness(x: Tensor, generator: torch.Generator) -> Tensor:
    """Blurred, sharpened, or small before: 112-px copies, video codecs."""
    num = len(x)
    blurred = functional.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
    amount = _draw(num, -1.0, 1.0, generator)
    x = torch.where(amount < 0, x - 0.8 * amount * (x - blurred), x + amount * (blurred - x))
    side = int(torch.randint(24, SIZE_PX + 1, (1,), generator=generator))
    small = functional.interpolate(x, (side, side), mode="bilinear", antialias=True)
    small = functional.interpolate(small, x.shape[2:], mode="bilinear")
    return torch.where(torch.rand(num, 1, 1, 1, generator=generator) < 0.35, small, x).clamp(0, 1)


def _drawn_over(x: Tensor, generator: torch.Generator) -> Tensor:
    """A few get text, ticks, a border, or the line of an ECG."""
    for picture in x:
        if float(torch.rand(1, generator=generator)) > 0.25:
            continue
        for _ in range(int(torch.randint(1, 5, (1,), generator=generator))):
            rows, columns = (int(v) for v in torch.randint(1, 14, (2,), generator=generator))
            place = torch.randint(0, SIZE_PX - 14, (2,), generator=generator)
            side = int(torch.randint(0, 4, (1,), generator=generator))
            top, left = int(place[0]), int(place[1])
            top = (top, top, 0, SIZE_PX - 4)[side]
            left = (0, SIZE_PX - 4, left, left)[side]
            rows, columns = (rows, 3) if side < 2 else (3, columns)
            grey = torch.rand(1, generator=generator)
            picture[:, top : top + rows, left : left + columns] = grey
    return x

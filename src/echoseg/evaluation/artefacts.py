"""Local artefacts that last: what hides a part of the heart for some frames of a clip.

- shadow: a dark wedge below a rib or a calcification;
- edge dropout: the sector's edge fades (lung or rib over the lateral wall);
- haze: a bright veil over the near field;
- mirror clutter: a moving copy of the clip's own bright echoes, deeper than they are;
- gain band: a range of depths that is too dark or too bright.

Each lasts 4 to 20 frames, comes and goes within a frame, has soft edges in space and drifts a
little. A fifth of them are there from the first frame on. They are placed in the sector's own
coordinates: the angle of a beam and the depth along it, with the probe at the top.

The hidden map says how much of the picture's own contrast is lost at a pixel: 1 - g where the grey
level is multiplied by g, the veil's opacity under a veil, and (c - x) / c where clutter c outshines
a pixel x. Pixels where it is 0 are unchanged.
"""

import math
from enum import StrEnum
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from echoseg.clip import Label

MIN_FRAMES, MAX_FRAMES = 4, 20
"""Frames that an artefact lasts; fewer where the clip ends."""
FIRST_FRAME_PROB = 0.2
"""Probability that an artefact is there from the first frame on."""
MIN_GREY = 0.02
"""Darker pixels are outside the sector, or in a cavity."""
_NUM_DRAWS = 12


class Artefact(StrEnum):
    """Kind of local artefact."""

    SHADOW = "shadow"
    EDGE_DROPOUT = "edge_dropout"
    HAZE = "haze"
    MIRROR_CLUTTER = "mirror_clutter"
    GAIN_BAND = "gain_band"


class Sector(NamedTuple):
    """Polar coordinates of the pixels of `N` clips.

    Attributes:
        angle: `N H W`, radians from straight down, positive towards the right.
        depth: `N H W`, distance from the probe as a fraction of the sector's depth.
        inside: `N H W`, 1 in the sector and 0 outside.
        middle: `N`, angle of the sector's middle.
        half_angle: `N`, half of its opening.
        origin_px: `N 2`, (row, column) of the probe.
        depth_px: `N`, the sector's depth in pixels.
    """

    angle: Tensor
    depth: Tensor
    inside: Tensor
    middle: Tensor
    half_angle: Tensor
    origin_px: Tensor
    depth_px: Tensor


def add_artefacts(
    frames: Tensor,
    prob: float,
    generator: torch.Generator,
    *,
    masks: Tensor | None = None,
    kinds: tuple[Artefact, ...] = tuple(Artefact),
) -> tuple[Tensor, Tensor]:
    """Give randomly chosen clips one artefact each.

    Args:
        frames: `N T H W` float in [0, 1], the probe at the top.
        prob: Probability that a clip gets one.
        generator: Random generator of every choice, on the device of the frames.
        masks: `N T H W` label maps; the artefact lies over the myocardium where there is some
            (else over the cavity, else anywhere in the sector).
        kinds: Kinds to choose from, with equal probabilities.

    Returns:
        Frames `N T H W`, and how far each pixel is hidden, `N T H W` in [0, 1].
    """
    new, hidden = frames.clone(), torch.zeros_like(frames)
    draws = torch.rand(len(frames), _NUM_DRAWS, generator=generator, device=frames.device)
    kind = (draws[:, 0] * len(kinds)).long()
    for index, artefact in enumerate(kinds):
        chosen = ((draws[:, 1] < prob) & (kind == index)).nonzero()[:, 0]
        if len(chosen):
            clips = _Clips(
                frames[chosen],
                None if masks is None else masks[chosen],
                draws[chosen],
                generator,
            )
            new[chosen], hidden[chosen] = _ADD[artefact](clips)
    return new, hidden


def sector_of(frames: Tensor) -> Sector:
    """The sector's coordinates, from where clips `N T H W` change (text and scales do not).

    The probe is above the middle of that region, at its first row. Over a sector of opening 2 a
    and depth R the angle has a standard deviation of a / sqrt(3), and the depth a mean of 2 R / 3.
    """
    lit = frames.amax(1)
    change = lit - frames.amin(1)  # none in a still that is repeated
    moves = change.flatten(1).amax(1) > MIN_GREY
    bright = torch.where(moves[:, None, None], change, lit) > MIN_GREY
    reach = max(1, frames.shape[-1] // 60)  # so that an ECG line is left out
    dense = functional.avg_pool2d(bright[:, None].float(), 2 * reach + 1, 1, reach)[:, 0] > 0.5
    inside = inside_sector(dense.float())  # (N, H, W)
    rows, columns = (torch.arange(n, device=frames.device).float() for n in inside.shape[1:])
    mass = inside.sum((1, 2)).clamp(min=1)
    column = (inside.sum(1) * columns).sum(1) / mass
    row = (inside.sum(2) > 1).float().argmax(1).float()
    down = rows[:, None] - row[:, None, None]
    across = columns - column[:, None, None]
    angle, distance = torch.atan2(across, down.clamp(min=0) + 1), (down**2 + across**2).sqrt()
    middle = (angle * inside).sum((1, 2)) / mass
    spread = ((angle - middle[:, None, None]) ** 2 * inside).sum((1, 2)) / mass
    depth_px = (1.5 * (distance * inside).sum((1, 2)) / mass).clamp(min=1)
    return Sector(
        angle=angle,
        depth=distance / depth_px[:, None, None],
        inside=inside,
        middle=middle,
        half_angle=(3 * spread).sqrt().clamp(min=0.1),
        origin_px=torch.stack([row, column], 1),
        depth_px=depth_px,
    )


def inside_sector(lit: Tensor) -> Tensor:
    """Maps `N H W`, 1 where there is light on all four sides: a cavity may be black."""
    sides = [
        side
        for axis in (1, 2)
        for side in (lit.cummax(axis).values, lit.flip(axis).cummax(axis).values.flip(axis))
    ]
    return torch.stack(sides).amin(0)


class _Clips:
    """Clips that get an artefact of one kind, where it lies and when.

    Args:
        frames: `n T H W`.
        masks: `n T H W`, or None.
        draws: `n D`, uniform in [0, 1).
        generator: Of noise and of the place.
    """

    def __init__(
        self, frames: Tensor, masks: Tensor | None, draws: Tensor, generator: torch.Generator
    ) -> None:
        self.frames, self.masks, self.generator = frames, masks, generator
        self.sector = sector_of(frames)
        self.inside = self.sector.inside[:, None]
        self._draws = iter(draws.unbind(1)[2:])
        first, start, length, edge = (next(self._draws) for _ in range(4))
        time = frames.shape[1]
        begins = 1 + (start * max(time - MIN_FRAMES, 1)).floor()
        begins = torch.where(first < FIRST_FRAME_PROB, 0, begins)[:, None]
        lasts = MIN_FRAMES + (length * (MAX_FRAMES - MIN_FRAMES + 1)).floor()[:, None]
        since = torch.arange(time, device=frames.device) - begins  # (n, T)
        soft = 0.4 + 0.6 * edge[:, None]  # level on the frames of onset and end
        level = torch.where((since == 0) & (begins > 0) | (since == lasts - 1), soft, 1)
        self.level = (level * ((since >= 0) & (since < lasts)))[:, :, None, None]
        self.since = since.clamp(min=0)[:, :, None, None]

    def uniform(self, low: float, high: float) -> Tensor:
        """The next number of each clip, `n 1 1 1`."""
        return (low + (high - low) * next(self._draws))[:, None, None, None]

    def target(self, side: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Angle and depth of a pixel of the wall, `n 1 1 1` each.

        Args:
            side: `n 1 1 1`, -1 or 1; the wall's left or right half only.
        """
        sector = self.sector
        weights = 1e-6 * sector.inside * (sector.depth < 1) + 1e-12
        for label, weight in ((Label.LV_CAVITY, 1e-3), (Label.LV_MYOCARDIUM, 1.0)):
            if self.masks is not None:
                weights = weights + weight * (self.masks == label).any(1)
        if side is not None:
            wall = weights * sector.angle
            middle = wall.sum((1, 2), keepdim=True) / weights.sum((1, 2), keepdim=True)
            weights = weights * ((sector.angle - middle) * side[:, 0] > 0) + 1e-12
        place = torch.multinomial(weights.flatten(1), 1, generator=self.generator)
        angle, depth = (
            each.flatten(1).gather(1, place)[:, :, None, None]
            for each in (sector.angle, sector.depth)
        )
        return angle, depth

    def speckle(self, size: int, *, moves: bool = True) -> Tensor:
        """Rayleigh noise of mean 1, new in each frame or one for all, `n T H W`."""
        num, time, rows, columns = self.frames.shape
        shape = (num, 2 * (time if moves else 1), -(-rows // size), -(-columns // size))
        waves = torch.randn(shape, generator=self.generator, device=self.frames.device)
        waves = functional.interpolate(waves, size=(rows, columns), mode="bicubic")
        return waves.unflatten(1, (2, -1)).square().sum(1).sqrt() * 0.95

    @property
    def grain_px(self) -> int:
        """Size of a speckle, pixels."""
        return max(1, round(self.frames.shape[-1] / 100))


def with_gain(frames: Tensor, gain: Tensor) -> tuple[Tensor, Tensor]:
    """Frames times a gain, and how far they are hidden by darkness or by saturation."""
    bright = frames * gain
    new = bright.clamp(max=1)
    return new, torch.maximum(1 - gain, (bright - new) / bright.clamp(min=1e-6))


def _step(x: Tensor, width: Tensor | float) -> Tensor:
    """Smooth step of `x` from 0 at -width / 2 to 1 at width / 2."""
    t = (x / width + 0.5).clamp(0, 1)
    return t * t * (3 - 2 * t)


def _darkened(clips: _Clips, opacity: Tensor) -> tuple[Tensor, Tensor]:
    """Frames under a shadow, in which a little electronic noise is left."""
    hidden = opacity * clips.level * clips.inside
    noise = clips.uniform(0, 0.05) * clips.speckle(clips.grain_px)
    return (clips.frames * (1 - hidden) + hidden * noise).clamp(0, 1), hidden


def _shadow(clips: _Clips) -> tuple[Tensor, Tensor]:
    """A wedge about a beam through the wall, from above the wall downwards."""
    sector, (angle, depth) = clips.sector, clips.target()
    half = clips.uniform(0.08, 0.24)
    drift = clips.uniform(-0.008, 0.008)
    starts = depth * (clips.uniform(-0.6, 0.75).clamp(min=0))
    beam = (sector.angle[:, None] - angle - drift * clips.since).abs()
    opacity = _step(half - beam, 0.5 * half) * _step(sector.depth[:, None] - starts, 0.1)
    return _darkened(clips, clips.uniform(0.75, 1) * opacity)


def _edge_dropout(clips: _Clips) -> tuple[Tensor, Tensor]:
    """All beams beyond one through the wall, on one side."""
    sector = clips.sector
    side = torch.where(clips.uniform(-1, 1) < 0, -1.0, 1.0)
    angle, _ = clips.target(side)
    middle, half = (each[:, None, None, None] for each in (sector.middle, sector.half_angle))
    starts = (side * (angle - middle) - clips.uniform(0, 0.15)).clamp(min=0.2 * half)
    beyond = side * (sector.angle[:, None] - middle) - starts
    beyond = beyond - clips.uniform(-0.006, 0.006) * clips.since
    return _darkened(clips, clips.uniform(0.7, 1) * _step(beyond, clips.uniform(0.1, 0.3)))


def _haze(clips: _Clips) -> tuple[Tensor, Tensor]:
    """A veil that is densest at the probe and ends at 15 to 35 % of the depth."""
    sector = clips.sector
    reach = clips.uniform(0.2, 0.4)
    tilt = clips.uniform(-0.3, 0.3) * sector.angle[:, None]
    density = _step(reach * (1 + tilt) - sector.depth[:, None], 0.8 * reach)
    hidden = clips.uniform(0.6, 0.95) * density * clips.level * clips.inside
    cloud = clips.speckle(8 * clips.grain_px, moves=False)
    veil = clips.uniform(0.35, 0.6) * (
        0.45 + 0.25 * cloud + 0.3 * clips.speckle(2 * clips.grain_px)
    )
    return (clips.frames * (1 - hidden) + hidden * veil).clamp(0, 1), hidden


def _mirror_clutter(clips: _Clips) -> tuple[Tensor, Tensor]:
    """Bright echoes again at a depth that swings, about a place on the wall."""
    sector, (angle, depth) = clips.sector, clips.target()
    shift, gain = _shift_of_clutter(clips, angle, depth)
    swing = 2 * math.pi * (clips.uniform(0, 1) + clips.since * clips.uniform(0.02, 0.08))
    shift = shift + 0.025 * torch.sin(swing)  # (n, T, 1, 1)
    here = sector.depth[:, None].clamp(min=1e-3)
    scale = (1 - shift / here).clamp(min=0)  # (n, T, H, W): towards the probe
    rows, columns = clips.frames.shape[-2:]
    row, column = (each[:, None, None, None] for each in sector.origin_px.unbind(1))
    across = torch.arange(columns, device=scale.device) - column
    down = torch.arange(rows, device=scale.device)[:, None] - row
    at = [(column + scale * across + 0.5) / columns, (row + scale * down + 0.5) / rows]
    copy = functional.grid_sample(
        clips.frames.flatten(0, 1)[:, None],
        2 * torch.stack(at, -1).flatten(0, 1) - 1,
        align_corners=False,
    ).view_as(clips.frames)
    away = ((here - depth) / 0.25).square() + ((sector.angle[:, None] - angle) / 0.45).square()
    near = _step(here - shift - 0.1, 0.1)  # the probe's own face is not copied
    place = _step(1 - away, 1.2) * near * clips.inside * clips.level
    new = torch.maximum(clips.frames, (gain * copy).clamp(max=0.9) * place)
    return new, (new - clips.frames) / new.clamp(min=1e-6)


def _shift_of_clutter(clips: _Clips, angle: Tensor, depth: Tensor) -> tuple[Tensor, Tensor]:
    """The shift whose copy is brightest at a place, and the gain that makes it 0.45 to 0.7.

    Args:
        clips: The clips.
        angle: `n 1 1 1` of the place.
        depth: `n 1 1 1` of the place.

    Returns:
        Shift in depth, `n 1 1 1`, 0.1 to 0.35; gain, `n 1 1 1`, 1 to 2.5.
    """
    sector, (rows, columns) = clips.sector, clips.frames.shape[-2:]
    shifts = torch.linspace(0.1, 0.35, 6, device=angle.device)
    away_px = (depth - shifts).clamp(min=0)[:, 0, 0] * sector.depth_px[:, None]  # (n, 6)
    angle, (row, column) = angle[:, 0, 0], sector.origin_px[:, :, None].unbind(1)
    at = [
        (column + away_px * angle.sin() + 0.5) / columns,
        (row + away_px * angle.cos() + 0.5) / rows,
    ]
    reach = max(1, rows // 40)
    smooth = functional.avg_pool2d(clips.frames.mean(1, keepdim=True), 2 * reach + 1, 1, reach)
    grid = 2 * torch.stack(at, -1)[:, None] - 1  # (n, 1, 6, 2)
    bright = functional.grid_sample(smooth, grid, align_corners=False)[:, 0, 0]
    is_near = away_px < 0.1 * sector.depth_px[:, None]
    bright, best = bright.masked_fill(is_near, 0).max(1)
    bright = torch.where(bright > 0, bright, 1)[:, None, None, None]
    gain = (clips.uniform(0.45, 0.7) / bright).clamp(1, 2.5)
    return shifts[best][:, None, None, None], gain


def _gain_band(clips: _Clips) -> tuple[Tensor, Tensor]:
    """A band of depths about the wall, times 0.1 to 0.4 or 1.6 to 2.7."""
    _, depth = clips.target()
    half = clips.uniform(0.05, 0.14)
    band = _step(half - (clips.sector.depth[:, None] - depth).abs(), half)
    which = clips.uniform(-1, 1)
    log_gain = torch.where(which < 0, -0.9 + 1.4 * which, 0.5 + 0.5 * which)
    return with_gain(clips.frames, torch.exp(log_gain * band * clips.level * clips.inside))


_ADD = {
    Artefact.SHADOW: _shadow,
    Artefact.EDGE_DROPOUT: _edge_dropout,
    Artefact.HAZE: _haze,
    Artefact.MIRROR_CLUTTER: _mirror_clutter,
    Artefact.GAIN_BAND: _gain_band,
}

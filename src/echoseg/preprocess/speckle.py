"""Speckle of a picture, apart from what it lies on, and new speckle like it.

In the log of the grey level a picture is `base + amplitude * grain`: its structure, the local
standard deviation of the speckle, and the speckle in units of it. So speckle multiplies the
picture, and black stays black. Speckle is what smoothing takes away, softly limited, since its
strength in the log is nearly the same everywhere; what exceeds that is structure.

Over the frames of a clip grain is an autoregressive process of first order,

    n[t] = rho n[t-1] + sqrt(1 - rho^2) e[t],  rho = exp(-frame interval / decorrelation time),

conditioned on the grain of frames whose picture is known ("anchors"; Matheron's rule): there it is
that picture's grain, between it has the correlation rho from frame to frame everywhere.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from echoseg.preprocess.registration import smooth

OFFSET_GREY = 8.0
"""Added to grey levels before the log, so that noise in black does not count."""
BASE_SIGMA, MIN_BASE_SIGMA_PX = 0.007, 2.0
AMPLITUDE_SIGMA = 0.02
"""Widths of the smoothing, fractions of the picture's side; speckle is a few pixels wide."""

LIMIT = 3.0
"""Grain stays under this many times its median: more is structure, such as a valve."""
EDGE_PX = 2


class Texture(NamedTuple):
    """A picture in parts, each `H W`: log level = base + amplitude * grain."""

    base: Tensor
    amplitude: Tensor
    grain: Tensor

    def picture(self) -> Tensor:
        """Grey levels `H W`."""
        return to_grey(self.base + self.amplitude * self.grain)


def to_grey(log_levels: Tensor) -> Tensor:
    """Grey levels of sums of `base` and grain."""
    return torch.exp(log_levels) - OFFSET_GREY


class Area(NamedTuple):
    """The part of a picture that shows ultrasound.

    Attributes:
        sector: `H W` bool.
        inside: `H W`, 1 inside the sector's edge, whose pixels are partly black; else 0.
        nearest: `H W`, index in the flat picture of the nearest pixel inside.
    """

    sector: np.ndarray
    inside: Tensor
    nearest: Tensor


def area_of(frames: np.ndarray) -> Area:
    """The area of stills `T H W`: in each row, from the first to the last pixel that is not black.

    Pixels that are black in one still only belong to it. Where nothing is inside, each pixel is
    its own nearest.
    """
    from scipy.ndimage import binary_erosion, distance_transform_edt

    lit = np.asarray(frames.any(0))
    right = np.logical_or.accumulate(lit[:, ::-1], 1)[:, ::-1]
    sector = np.logical_or.accumulate(lit, 1) & right
    inside = binary_erosion(sector, iterations=EDGE_PX)
    nearest = np.arange(sector.size).reshape(sector.shape)
    if inside.any():
        _, places = distance_transform_edt(~inside, return_indices=True)  # type: ignore[misc]
        nearest = np.ravel_multi_index((places[0], places[1]), sector.shape)
    return Area(sector, torch.from_numpy(inside).float(), torch.from_numpy(nearest))


def texture_of(frame: np.ndarray, area: Area) -> Texture:
    """Take a picture `H W` uint8 apart; beyond the sector's edge it goes on as at the edge."""
    side, inside = float(np.sqrt(frame.size)), area.inside
    level = torch.log(torch.from_numpy(frame).float() + OFFSET_GREY)
    rest = level - _smooth_inside(level, inside, max(BASE_SIGMA * side, MIN_BASE_SIGMA_PX))
    limit = LIMIT * rest[inside > 0].abs().median().clamp(min=1e-3)
    rest = limit * torch.tanh(rest / limit) * inside
    amplitude = _smooth_inside(rest**2, inside, AMPLITUDE_SIGMA * side).clamp(min=1e-6).sqrt()
    grain = rest / amplitude
    base, amplitude = ((level - rest).flatten()[area.nearest], amplitude.flatten()[area.nearest])
    return Texture(base, amplitude, grain)


def _smooth_inside(values: Tensor, inside: Tensor, sigma: float) -> Tensor:
    """Mean of the values inside around each pixel; 0 far from them."""
    total, weight = smooth(torch.stack([values * inside, inside]), sigma)
    return total / weight.clamp(min=1e-3)


class GrainSource:
    """Independent grains of the spectrum of a given one, of mean 0 and variance 1.

    Draws are one random-phase texture, rolled by random offsets.

    Args:
        grain: `H W`; zeros outside the sector.
        rng: All randomness.
    """

    def __init__(self, grain: Tensor, rng: np.random.Generator) -> None:
        self.rng, self.shape = rng, tuple(grain.shape)
        spectrum = torch.fft.rfft2(grain).abs()
        white = torch.from_numpy(rng.standard_normal(self.shape, dtype=np.float32))
        texture = torch.fft.irfft2(torch.fft.rfft2(white) * spectrum, s=self.shape)
        self.texture = (texture - texture.mean()) / texture.std()

    def draw(self) -> Tensor:
        """A grain `H W`."""
        rows, columns = self.shape
        offsets = int(self.rng.integers(rows)), int(self.rng.integers(columns))
        return torch.roll(self.texture, offsets, (0, 1))


def bridge(rho: float, num_frames: int, anchors: tuple[int, ...]) -> np.ndarray:
    """Weights `T A` of the anchors' grain at each frame: conditional mean of the process.

    Given anchors at a < b the weights at t between are those of the process pinned at both ends,
    (rho^(t-a) - rho^(2b-a-t)) / (1 - rho^(2(b-a))) and its mirror image; outside rho^distance.
    """
    frames, places = np.arange(num_frames), np.array(anchors, int)
    between = np.abs(frames[:, None] - places)
    among = np.abs(places[:, None] - places)
    return np.linalg.solve(rho**among, (rho**between).T).T if anchors else np.zeros((num_frames, 0))

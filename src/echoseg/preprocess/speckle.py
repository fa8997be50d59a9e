"""Speckle of a picture, apart from what it lies on, and new speckle like it.

In the log of the grey level a picture is `base + amplitude * grain`: a smoothed picture, the local
standard deviation of the rest, and the rest in units of it. So grain multiplies the picture, and
black stays black. Over the frames of a clip grain is an autoregressive process of first order,

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


def texture_of(frame: np.ndarray, sector: np.ndarray) -> Texture:
    """Take a picture apart; nothing outside the sector is mixed into it.

    Args:
        frame: `H W` uint8.
        sector: `H W` bool.
    """
    from scipy.ndimage import binary_erosion

    side = float(np.sqrt(frame.size))
    # pixels at the edge are partly black, which is not speckle
    inside = torch.from_numpy(binary_erosion(sector, iterations=EDGE_PX)).float()
    level = torch.log(torch.from_numpy(frame).float() + OFFSET_GREY)
    base = _smooth_inside(level, inside, max(BASE_SIGMA * side, MIN_BASE_SIGMA_PX))
    rest = level - base
    variance = _smooth_inside(rest**2, inside, AMPLITUDE_SIGMA * side)
    amplitude = variance.clamp(min=1e-6).sqrt()
    return Texture(base, amplitude, rest / amplitude * torch.from_numpy(sector))


def _smooth_inside(values: Tensor, inside: Tensor, sigma: float) -> Tensor:
    """Mean of the values inside the sector around each pixel; beyond its edge, of the nearest."""
    total, weight = smooth(torch.stack([values * inside, inside]), sigma)
    return total / weight.clamp(min=1e-3)


def sector_of(frames: np.ndarray) -> np.ndarray:
    """The part of stills `T H W` that shows ultrasound, `H W` bool.

    In each row it reaches from the first to the last pixel that is not black in all of them.
    """
    lit = np.asarray(frames.any(0))
    right = np.logical_or.accumulate(lit[:, ::-1], 1)[:, ::-1]
    return np.logical_or.accumulate(lit, 1) & right


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

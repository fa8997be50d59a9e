"""Vendor post-processing of the detected image.

Speckle is averaged: compounding of angles and frequencies and the smoothing after it leave about
half of its contrast (in CAMUS images of 1 mm per pixel the fine grain has a standard deviation of 9
grey levels in the cavity, where plain speckle would have 20). Most vendors then apply
another filter.

Reference:
    Lee, IEEE TPAMI 2 (1980): out = m + var / (var + noise) (x - m) over a small window.
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from scipy.ndimage import uniform_filter1d, zoom

from echoseg.phantom.config import Style
from echoseg.phantom.kernels import blur, lee, median, sharpen
from echoseg.phantom.probe import PolarGrid

_PIXEL_SHARE = 0.45
"""Standard deviation of a pixel's aperture, in pixels: pixels are not point samples."""
_MAX_BEAMS = 6
_COARSE = 4


class Filter(StrEnum):
    """The filter after averaging."""

    NONE = "none"
    LEE = "lee"
    MEDIAN = "median"
    UNSHARP = "unsharp"
    LOCAL_CONTRAST = "local_contrast"


_SHARES = (0.5, 0.14, 0.08, 0.14, 0.14)


@dataclass(frozen=True, kw_only=True, slots=True)
class Postprocessing:
    """Parameters of averaging and filter.

    Attributes:
        axial_mm: Standard deviation along the beam.
        lateral_mm: Standard deviation across it.
        filter: Filter after averaging.
        strength: Strength of the filter, 0 to 1.
    """

    axial_mm: float
    lateral_mm: float
    filter: Filter = Filter.NONE
    strength: float = 0.5

    @classmethod
    def draw(cls, rng: np.random.Generator, style: Style) -> "Postprocessing":
        """Draw parameters; the held-out style is sharper or softer than any in training."""
        a, b, c, d = rng.uniform(size=4)
        chosen = Filter(str(rng.choice(list(Filter), p=_SHARES)))
        if style is Style.TRAIN:
            return cls(
                axial_mm=0.3 + 0.6 * a, lateral_mm=0.5 + 0.8 * b, filter=chosen,
                strength=0.2 + 0.5 * d,
            )  # fmt: skip
        strength = 0.8 + 0.2 * d
        if c < 0.5:
            return cls(axial_mm=0.25 * a, lateral_mm=0.4 * b, filter=chosen, strength=strength)
        return cls(
            axial_mm=0.95 + 0.3 * a, lateral_mm=1.4 + 0.4 * b, filter=chosen, strength=strength
        )


class PostprocessingFilter:
    """Applies the post-processing to polar images of one grid."""

    def __init__(self, settings: Postprocessing, grid: PolarGrid, pixel_mm: float) -> None:
        self._settings, self._buffer = settings, grid.buffer
        self._axial, self._lateral = averaging_kernels(settings, grid, pixel_mm)
        self._first, self._second = (np.empty_like(grid.buffer) for _ in range(2))

    def __call__(self, polar: np.ndarray) -> np.ndarray:
        """Grey levels [beam, range], valid until the next call."""
        smooth, other = self._first, self._second
        blur(polar, self._axial, self._lateral, self._buffer, smooth)
        strength = np.float32(self._settings.strength)
        match self._settings.filter:
            case Filter.LEE:
                lee(smooth, np.float32(14 * strength), other)
            case Filter.MEDIAN:
                median(smooth, other)
            case Filter.UNSHARP:
                sharpen(smooth, strength, other)
            case Filter.LOCAL_CONTRAST:
                self._even_out(smooth, 0.6 * self._settings.strength, other)
            case Filter.NONE:
                return smooth
        return other

    @staticmethod
    def _even_out(polar: np.ndarray, part: float, out: np.ndarray) -> None:
        """Bring local mean and spread towards those of the whole image, similar to CLAHE."""
        coarse = polar[::_COARSE, ::_COARSE]
        windows = [max(3, side // 5) for side in coarse.shape]

        def local_mean(values: np.ndarray) -> np.ndarray:
            for axis, window in enumerate(windows):
                values = uniform_filter1d(values, window, axis)
            return values

        mean = local_mean(coarse)
        spread = np.sqrt(np.maximum(local_mean(coarse * coarse) - mean * mean, 25))
        gain = (1 - part) + part * coarse.std() / spread
        level = (1 - 0.5 * part) * mean + 0.5 * part * coarse.mean()
        size = [side / small for side, small in zip(polar.shape, coarse.shape, strict=True)]
        mean, gain, level = (
            np.asarray(zoom(field, size, order=1)) for field in (mean, gain, level)
        )
        np.clip(level + gain * (polar - mean), 0, 255, out=out)


def averaging_kernels(
    settings: Postprocessing, grid: PolarGrid, pixel_mm: float
) -> tuple[np.ndarray, np.ndarray]:
    """Weights along `K` and across `half + 1, range` for `kernels.blur`."""
    sigma = np.hypot(settings.axial_mm, _PIXEL_SHARE * pixel_mm) / grid.step_mm
    reach = int(np.ceil(2.5 * sigma))
    axial = np.exp(-0.5 * (np.arange(-reach, reach + 1) / max(sigma, 1e-3)) ** 2)
    across_mm = np.hypot(settings.lateral_mm, _PIXEL_SHARE * pixel_mm)
    sigma = across_mm / (np.maximum(grid.ranges_mm, 12) * grid.step_rad)
    sigma = np.minimum(sigma, _MAX_BEAMS / 2.5)
    half = int(np.ceil(2.5 * np.quantile(sigma, 0.8)))
    lateral = np.exp(-0.5 * (np.arange(half + 1)[:, None] / np.maximum(sigma, 1e-3)) ** 2)
    lateral /= lateral[0] + 2 * lateral[1:].sum(0)
    return (axial / axial.sum()).astype(np.float32), lateral.astype(np.float32)

"""What the maker of a machine does to the picture: speckle is averaged away.

Compounding of angles and frequencies and the smoothing after it leave about a third of the
speckle's contrast: in CAMUS pictures of 1 mm a pixel the fine grain has a standard deviation of 9
grey levels in the cavity, where plain speckle would have 20.
"""

from dataclasses import dataclass

import numpy as np

from echoseg.phantom.config import Style
from echoseg.phantom.probe import PolarGrid

_PIXEL_SHARE = 0.45
"""Standard deviation of a pixel's own aperture, in pixels: a picture is no point sample."""
_MOST_BEAMS = 6


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """The averaging.

    Attributes:
        axial_mm: Standard deviation along the beam.
        lateral_mm: Standard deviation across it.
    """

    axial_mm: float
    lateral_mm: float

    @classmethod
    def draw(cls, rng: np.random.Generator, style: Style) -> "Look":
        """Draw a look; the held-out style is rawer or softer than any in training."""
        a, b, c = rng.uniform(size=3)
        if style is Style.TRAIN:
            return cls(axial_mm=0.3 + 0.6 * a, lateral_mm=0.5 + 0.8 * b)
        if c < 0.5:
            return cls(axial_mm=0.25 * a, lateral_mm=0.4 * b)
        return cls(axial_mm=0.95 + 0.3 * a, lateral_mm=1.4 + 0.4 * b)

    def kernels(self, grid: PolarGrid, pixel_mm: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the weights along `K` and across `half + 1, range` for `kernels.blur`."""
        sigma = np.hypot(self.axial_mm, _PIXEL_SHARE * pixel_mm) / grid.step_mm
        reach = int(np.ceil(2.5 * sigma))
        axial = np.exp(-0.5 * (np.arange(-reach, reach + 1) / max(sigma, 1e-3)) ** 2)
        across_mm = np.hypot(self.lateral_mm, _PIXEL_SHARE * pixel_mm)
        sigma = across_mm / (np.maximum(grid.ranges_mm, 12) * grid.step_rad)
        sigma = np.minimum(sigma, _MOST_BEAMS / 2.5)
        half = int(np.ceil(2.5 * np.quantile(sigma, 0.8)))
        lateral = np.exp(-0.5 * (np.arange(half + 1)[:, None] / np.maximum(sigma, 1e-3)) ** 2)
        lateral /= lateral[0] + 2 * lateral[1:].sum(0)
        return (axial / axial.sum()).astype(np.float32), lateral.astype(np.float32)

"""The probe: its sector in polar coordinates and its point spread function.

The pulse is a Gaussian along the beam; across, its width grows away from the focus and is finite
in the near field: sigma(r)^2 = (s0^2 + (w0 / r)^2) (1 + .35 ((r - f) / f)^2)^2, on a wide weak
pedestal of side lobes. The model is that of Gao et al. (COLE), IEEE TUFFC 56 (2009): one separable
convolution with a spread that depends on depth.
"""

import math
from dataclasses import dataclass

import numpy as np

from echoseg.phantom.config import Style
from echoseg.phantom.kernels import blur

SOUND_MM_PER_US = 1.54
_SPLAT_POWER = 0.98
"""Power of a bilinear splat after the point spread function (homogeneous test)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Probe:
    """Parameters of probe and beam former.

    Attributes:
        half_angle_rad: Half opening of the sector.
        depth_mm: Depth of the picture.
        frequency_mhz: Centre frequency received.
        axial_mm: Standard deviation of the pulse.
        lateral_rad: Standard deviation of the beam far away.
        near_width_mm: The same near the probe, as a width.
        side_lobe: Amplitude of the pedestal.
    """

    half_angle_rad: float
    depth_mm: float
    frequency_mhz: float
    axial_mm: float
    lateral_rad: float
    near_width_mm: float
    side_lobe: float

    @classmethod
    def draw(
        cls, rng: np.random.Generator, style: Style, strength: float, depth_mm: float
    ) -> "Probe":
        """Draw a probe; the held-out style is finer or coarser than any in training."""
        unit = rng.uniform(size=5)
        if style is Style.TRAIN:
            axial, lateral, half = 0.34 + 0.36 * unit[0], 0.36 + 0.4 * unit[1], 32 + 14 * unit[2]
        else:
            axial = 0.26 + 0.06 * unit[0] if unit[4] < 0.5 else 0.74 + 0.14 * unit[0]
            lateral = 0.27 + 0.07 * unit[1] if unit[4] < 0.5 else 0.8 + 0.15 * unit[1]
            half = 27 + 4 * unit[2] if unit[3] < 0.5 else 47 + 3 * unit[2]
        return cls(
            half_angle_rad=math.radians(half),
            depth_mm=depth_mm,
            frequency_mhz=float(2.4 + 1.2 * unit[3]),
            axial_mm=float(axial),
            lateral_rad=math.radians(lateral),
            near_width_mm=float(rng.uniform(0.45, 0.95)),
            side_lobe=float(rng.uniform(0.01, 0.05)) * strength,
        )


class PolarGrid:
    """Samples of the sector, [beam, range], and the point spread function on them."""

    def __init__(self, probe: Probe, size_px: int) -> None:
        self.probe = probe
        self.num_ranges = int(np.clip(size_px * 2.4, 256, 640))
        self.num_beams = int(np.clip(size_px * 0.62 + 36, 96, 200))
        self.first_mm = 1.0
        self.step_mm = (probe.depth_mm - self.first_mm) / (self.num_ranges - 1)
        self.first_rad = -probe.half_angle_rad
        self.step_rad = 2 * probe.half_angle_rad / (self.num_beams - 1)
        self.ranges_mm = self.first_mm + self.step_mm * np.arange(self.num_ranges)
        self.angles_rad = self.first_rad + self.step_rad * np.arange(self.num_beams)
        self._spread()

    def _spread(self) -> None:
        probe, r = self.probe, self.ranges_mm
        sigma = max(probe.axial_mm, 0.5 * self.step_mm) / self.step_mm
        reach = int(max(2, math.ceil(3 * sigma)))
        axial = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
        focus = 0.55 * probe.depth_mm
        width = np.hypot(probe.lateral_rad, probe.near_width_mm / np.maximum(r, 6)) / self.step_rad
        width = np.minimum(width * (1 + 0.35 * ((r - focus) / focus) ** 2), 5.0)
        half = int(np.clip(math.ceil(2.6 * width[self.num_ranges // 4 :].max()), 3, 9))
        steps = np.arange(half + 1)[:, None]
        lateral = np.exp(-0.5 * (steps / width) ** 2)
        lateral += probe.side_lobe * np.exp(-0.5 * (steps / (4 * width)) ** 2)
        power = (axial**2).sum() * (lateral[0] ** 2 + 2 * (lateral[1:] ** 2).sum(0))
        self.axial, self.lateral = axial.astype(np.float32), lateral.astype(np.float32)
        # scatterers of unit power per square millimetre become a field of unit power
        cell_mm2 = r * self.step_mm * self.step_rad
        self.tissue_gain = (1 / np.sqrt(power * _SPLAT_POWER * cell_mm2)).astype(np.float32)
        self.noise_gain = (1 / np.sqrt(power)).astype(np.float32)
        self.buffer = np.empty((self.num_beams, self.num_ranges), np.float32)

    def blurred(self, field: np.ndarray, out: np.ndarray) -> np.ndarray:
        """Convolve a field with the point spread function into `out`."""
        blur(field, self.axial, self.lateral, self.buffer, out)
        return out

    def noise(self, rng: np.random.Generator, number: int) -> np.ndarray:
        """Speckle noise of unit power, `N 2 beam range`."""
        raw = rng.standard_normal((number, 2, self.num_beams, self.num_ranges), dtype=np.float32)
        out = np.empty_like(raw)
        for index in range(number):
            for part in range(2):
                self.blurred(raw[index, part], out[index, part])
        return out * (self.noise_gain * np.float32(math.sqrt(0.5)))

    def place(self, points_mm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(beam, range) in index units of points `... 2` (x, y)."""
        x, y = points_mm[..., 0], points_mm[..., 1]
        beam = (np.arctan2(x, y) - self.first_rad) / self.step_rad
        return beam, (np.hypot(x, y) - self.first_mm) / self.step_mm

    @property
    def wave_per_mm(self) -> float:
        """Phase per millimetre of depth, round trip."""
        return 4 * math.pi * self.probe.frequency_mhz / SOUND_MM_PER_US

"""Scan conversion from the polar grid to a square image with the probe at its top."""

import numpy as np

from echoseg.phantom.kernels import scan_convert
from echoseg.phantom.probe import PolarGrid


class Sector:
    """Geometry of the image: `size_px` rows and columns, isotropic spacing, centred sector.

    Attributes:
        spacing_mm: Millimetres per pixel.
        origin_px: (x, y) of the probe's face.
        mask: Pixels inside the sector, `H W` bool.
        box: Pixels inside its bounding box.
    """

    def __init__(self, grid: PolarGrid, size_px: int) -> None:
        probe = grid.probe
        width_mm = 2 * probe.depth_mm * np.sin(probe.half_angle_rad)
        self.size_px = size_px
        self.spacing_mm = float(max(width_mm, probe.depth_mm) / size_px * 1.02)
        self.origin_px = (
            size_px / 2 - 0.5,
            (size_px - probe.depth_mm / self.spacing_mm) / 2,
        )
        rows, columns = np.mgrid[:size_px, :size_px]
        x = (columns - self.origin_px[0]) * self.spacing_mm
        y = (rows - self.origin_px[1]) * self.spacing_mm
        beam, ranges = grid.place(np.stack([x, y], -1))
        self.mask = (ranges >= 0) & (ranges < grid.num_ranges - 1) & (y > 0)
        self.mask &= (beam >= 0) & (beam < grid.num_beams - 1)
        self.box = self.mask.any(1)[:, None] & self.mask.any(0)
        beam, ranges = beam[self.mask], ranges[self.mask]
        low_b, low_r = beam.astype(np.int64), ranges.astype(np.int64)
        part_b, part_r = beam - low_b, ranges - low_r
        self._corner = low_b * grid.num_ranges + low_r
        self._weights = np.stack(
            [
                (1 - part_b) * (1 - part_r),
                (1 - part_b) * part_r,
                part_b * (1 - part_r),
                part_b * part_r,
            ],
            1,
        ).astype(np.float32)
        self._pixel = np.flatnonzero(self.mask.ravel())

    def convert(self, polar: np.ndarray, out: np.ndarray) -> None:
        """Convert a polar image, grey levels [beam, range], into `out`, `H W` uint8."""
        scan_convert(polar, self._corner, self._weights, self._pixel, out)

    def to_px(self, points_mm: np.ndarray) -> np.ndarray:
        """Convert points `... 2` (x, y) in mm from the probe's face to pixels (x, y)."""
        return points_mm / self.spacing_mm + np.asarray(self.origin_px)

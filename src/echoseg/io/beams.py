"""Beamspace to sector: an image of one column per beam, drawn where its pixels lie."""

import numpy as np

from echoseg.errors import ArgumentError
from echoseg.io.budget import MAX_FRAME_PIXELS

_TOLERANCE = 0.01
"""Deviation of given places from rows and columns, or from beams, relative to their extent."""
_MAX_ROWS = 640
MAX_PLACES = 2**23
"""Pixels of an image whose places are given."""


class Grid:
    """Where the pixels of an image lie, as rows and columns or as beams of one origin.

    Args:
        places_mm: (x, z) of each pixel, `H W 2`; z is depth.

    Attributes:
        spacing_mm: (row, column) pixel spacing of what `draw` returns.

    Raises:
        ArgumentError: If the pixels lie in neither way.
    """

    def __init__(self, places_mm: np.ndarray) -> None:
        x, z = places_mm[..., 0], places_mm[..., 1]
        self._sources: np.ndarray | None = None
        extent = max(np.ptp(x), np.ptp(z))
        if not np.isfinite(places_mm).all() or min(x.shape) < 2 or extent <= 0:
            raise ArgumentError("the places of the pixels must be finite and differ")
        bend = max(np.ptp(x, axis=0).max(), np.ptp(z, axis=1).max())
        if bend <= _TOLERANCE * extent:
            rows, columns = z.mean(1), x.mean(0)
            self._steps = np.sign([rows[-1] - rows[0], columns[-1] - columns[0]]).astype(int)
            self.spacing_mm = float(abs(np.diff(rows).mean())), float(abs(np.diff(columns).mean()))
        else:
            self._set_beams(x, z, extent)

    def _set_beams(self, x: np.ndarray, z: np.ndarray, extent: float) -> None:
        along_x, along_z = x[-1] - x[0], z[-1] - z[0]
        # a beam is the points p with n p = n p0, n across it; their common point, least squares
        across = np.stack([along_z, -along_x], 1)
        offsets = across[:, 0] * x[0] + across[:, 1] * z[0]
        apex = np.linalg.lstsq(across, offsets, rcond=None)[0]
        angles = np.arctan2(x - apex[0], z - apex[1])
        depths = np.hypot(x - apex[0], z - apex[1])
        angle, depth = angles.mean(0), depths.mean(1)
        deviation = np.hypot(
            apex[0] + depth[:, None] * np.sin(angle) - x,
            apex[1] + depth[:, None] * np.cos(angle) - z,
        )
        if deviation.max() > _TOLERANCE * extent:
            raise ArgumentError("pixels must lie in rows and columns, or on beams of one origin")
        step = max(float(abs(np.diff(depth).mean())), float(np.ptp(z)) / _MAX_ROWS)
        if np.ptp(x) / step * np.ptp(z) / step > MAX_FRAME_PIXELS:
            raise ArgumentError("the places of the pixels span too wide an image")
        columns, rows = np.meshgrid(
            np.arange(x.min(), x.max() + step, step), np.arange(z.min(), z.max() + step, step)
        )
        self.spacing_mm = step, step
        self._sources = np.stack(
            [
                _index_of(depth, np.hypot(columns - apex[0], rows - apex[1])),
                _index_of(angle, np.arctan2(columns - apex[0], rows - apex[1])),
            ]
        )

    def draw(self, frame: np.ndarray) -> np.ndarray:
        """The image `H W` with depth downwards and x to the right, black beside the sector."""
        if self._sources is None:
            return frame[:: self._steps[0], :: self._steps[1]]
        from scipy.ndimage import map_coordinates

        black = frame.min() if frame.dtype.kind == "f" else 0
        return map_coordinates(frame, self._sources, order=1, mode="constant", cval=black)


def _index_of(values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Fractional index of each wanted value in an evenly or unevenly spaced row; -1 outside."""
    order = np.argsort(values)
    return np.interp(wanted, values[order], order.astype(float), left=-1, right=-1)

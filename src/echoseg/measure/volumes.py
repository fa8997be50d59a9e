"""Volume of the left ventricle from one view.

V = pi/4 * (L/N) * sum_i d_i^2, disks i = 1..N of width d_i across the long axis of length L.

Reference:
    Lang et al., J Am Soc Echocardiogr 28 (2015), 1-39: disk summation, single plane (b_i = a_i).
"""

import math

import numpy as np

from echoseg.geometry import disk_diameters_mm, long_axis, mask_contour_mm

MM3_PER_ML = 1000.0


def single_plane_volume_ml(diameters_mm: np.ndarray, length_mm: float) -> float:
    """Return the volume of circular disks of equal height.

    Raises:
        ValueError: If the length is negative.
    """
    if length_mm < 0:
        raise ValueError(f"length_mm must not be negative, got {length_mm:g}")
    return float(math.pi / 4 * np.mean(np.square(diameters_mm)) * length_mm / MM3_PER_ML)


def mask_volume_ml(mask: np.ndarray, spacing_mm: tuple[float, float]) -> tuple[float, float]:
    """Return (volume in ml, long axis in mm) of the cavity on one label map `H W`.

    Raises:
        MeasurementError: If there is no cavity.
    """
    axis = long_axis(mask, spacing_mm)
    contour = mask_contour_mm(mask == 1, spacing_mm)
    return single_plane_volume_ml(disk_diameters_mm(contour, axis), axis.length_mm), axis.length_mm

"""Volume of the left ventricle from one view, by disk summation (`geometry.disk_volume_ml`)."""

import numpy as np

from echoseg.measure.geometry import disk_diameters_mm, disk_volume_ml, long_axis, mask_contour_mm


def mask_volume_ml(mask: np.ndarray, spacing_mm: tuple[float, float]) -> tuple[float, float]:
    """Return (volume in ml, long axis in mm) of the cavity on one label map `H W`.

    Raises:
        MeasurementError: If there is no cavity.
    """
    axis = long_axis(mask, spacing_mm)
    contour = mask_contour_mm(mask == 1, spacing_mm)
    return disk_volume_ml(disk_diameters_mm(contour, axis), axis.length_mm), axis.length_mm

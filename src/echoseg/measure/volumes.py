"""Volume and ejection fraction of the left ventricle from one view, by disk summation."""

from collections.abc import Sequence

import numpy as np

from echoseg.clip import Label, check_spacing
from echoseg.errors import ArgumentError, MeasurementError
from echoseg.measure.geometry import (
    contour_axis,
    disk_diameters_mm,
    disk_volume_ml,
    mask_contour_mm,
)


def mask_volume_ml(mask: np.ndarray, spacing_mm: tuple[float, float]) -> tuple[float, float]:
    """Volume in ml and long axis in mm of the cavity on one label map `H W`.

    Raises:
        MeasurementError: If there is no cavity.
    """
    contour = mask_contour_mm(mask == Label.LV_CAVITY, spacing_mm)
    axis = contour_axis(contour, mask == Label.LA_CAVITY, spacing_mm)
    return disk_volume_ml(disk_diameters_mm(contour, axis), axis.length_mm), axis.length_mm


def cavity_volumes_ml(
    masks: Sequence[np.ndarray] | np.ndarray, spacing_mm: tuple[float, float] | None = None
) -> np.ndarray:
    """Volume of the cavity on each label map of `T H W`, NaN where there is none.

    Args:
        masks: Label maps; one cavity per frame, as `clean_masks` leaves them.
        spacing_mm: (row, column) millimetres per pixel; without it volumes are in thousands of
            cubic pixels, whose ratios are those of the volumes in ml.
    """
    volumes = np.full(len(masks), np.nan)
    for index, mask in enumerate(masks):
        try:
            volumes[index] = mask_volume_ml(mask, spacing_mm or (1.0, 1.0))[0] or np.nan
        except MeasurementError:
            continue
    return volumes


def ejection_fraction(
    masks: Sequence[np.ndarray] | np.ndarray,
    spacing_mm: tuple[float, float] | None = None,
    *,
    ed_frame: int | None = None,
    es_frame: int | None = None,
) -> float | None:
    """Single-plane EF in percent, 100 (EDV - ESV) / EDV, of a series of label maps `T H W`.

    `measure_masks` instead finds beats, regularises the volume curve and averages over beats.

    Args:
        masks: Label maps; one cavity per frame, as `clean_masks` leaves them.
        spacing_mm: (row, column) millimetres per pixel; needed only where they differ.
        ed_frame: Frame of ED; default: that of the largest volume.
        es_frame: Frame of ES; default: that of the smallest volume.

    Returns:
        Percent, 0 to 100; None where a frame has no cavity.

    Raises:
        ArgumentError: If the masks are not label maps, the spacing is not two positive numbers, or
            a frame is not one of theirs.
        MeasurementError: If the cavity is larger at ES than at ED.
    """
    checked = _label_maps(masks)
    check_spacing(spacing_mm)
    for name, frame in (("ed_frame", ed_frame), ("es_frame", es_frame)):
        if frame is not None and frame not in range(len(checked)):
            raise ArgumentError(f"{name} must be 0 to {len(checked) - 1}, got {frame}")
    volumes = cavity_volumes_ml(checked, spacing_mm)
    if not np.isfinite(volumes).any():
        return None
    edv = np.nanmax(volumes) if ed_frame is None else volumes[ed_frame]
    esv = np.nanmin(volumes) if es_frame is None else volumes[es_frame]
    if esv > edv:
        raise MeasurementError(
            f"the left ventricle is {100 * (esv / edv - 1):.0f} % larger at ES than at ED; "
            "exchange ed_frame and es_frame, or leave them out"
        )
    return ef_percent(float(edv), float(esv))


def _label_maps(masks: object) -> np.ndarray:
    """The masks as an array `T H W` of labels.

    Raises:
        ArgumentError: If they are not.
    """
    try:
        values = np.asarray(masks)
    except ValueError:  # of different sizes
        values = np.empty(0)
    if values.ndim != 3 or 0 in values.shape or values.dtype.kind not in "uib":
        raise ArgumentError(
            "masks must be label maps (T, H, W) of one size and an integer type, got "
            f"{values.shape} {values.dtype}"
        )
    if values.min() < 0 or values.max() > max(Label):
        raise ArgumentError(
            f"masks must hold labels 0 to {max(Label)}, got {values.min()} to {values.max()}"
        )
    return values


def ef_percent(edv: float, esv: float) -> float | None:
    """100 (EDV - ESV) / EDV from two volumes in any one unit; None where one is NaN."""
    ef = 100 * (1 - esv / edv)
    return None if np.isnan(ef) else ef

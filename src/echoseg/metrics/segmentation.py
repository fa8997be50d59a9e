"""Segmentation metrics: Dice, IoU, HD, HD95 and ASD of one structure on one frame.

The surface of a mask is the mask minus its 4-connected erosion; pixels outside the image are
background. With d(P, R) the distances from each surface pixel of P to the nearest of R:

    HD = max(max d(P, R), max d(R, P)),  HD95 = max(p95 d(P, R), p95 d(R, P)),
    ASD = mean of d(P, R) and d(R, P) pooled
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy import ndimage

from echoseg.errors import ArgumentError

FAILED_DICE = 0.8
"""An item with a lower Dice counts as a failure."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MaskComparison:
    """Metrics of a predicted mask against its reference.

    Average over items with status `ok` or `one_empty`, never over batches; count the others.

    Attributes:
        dice: 0 to 1; None when both masks are empty.
        iou: 0 to 1; None when both masks are empty.
        hd: Hausdorff distance in `unit`; None when both masks are empty, the diagonal of the
            image when one is.
        hd95: The same with 95th percentiles instead of maxima.
        asd: Average symmetric surface distance; empty masks as for `hd`.
        status: Whether both masks are non-empty, one of them, or none.
        unit: `mm` when the spacing is known, else `px`.
    """

    dice: float | None
    iou: float | None
    hd: float | None
    hd95: float | None
    asd: float | None
    status: Literal["ok", "one_empty", "both_empty"]
    unit: Literal["mm", "px"]


def dice(predicted: Any, reference: Any, label: int | Sequence[int] | None = None) -> float | None:
    """Dice coefficient 2 |A and B| / (|A| + |B|), without smoothing.

    Args:
        predicted: Boolean mask or label map of any shape, a NumPy array or a torch tensor.
        reference: Mask or label map of the same shape.
        label: For label maps: the label of the structure, or the labels whose union it is.

    Returns:
        0 to 1; None when both masks are empty.

    Raises:
        ArgumentError: If the shapes differ, or label maps come without `label`.
    """
    first, second = _structure(predicted, label), _structure(reference, label)
    _check(first, second)
    return dice_of_counts(int((first & second).sum()), int(first.sum()) + int(second.sum()))


def dice_of_counts(shared: int, total: int) -> float | None:
    """Dice from |A and B| and |A| + |B|; None when both masks are empty."""
    return 2 * shared / total if total else None


def _structure(mask: Any, label: int | Sequence[int] | None) -> np.ndarray:
    """Boolean NumPy mask of a structure in a mask or label map, which may be a torch tensor."""
    array = np.asarray(mask.detach().cpu() if hasattr(mask, "detach") else mask)
    return array if label is None else np.isin(array, label)


def compare_masks(
    predicted: np.ndarray,
    reference: np.ndarray,
    spacing_mm: tuple[float, float] | None = None,
) -> MaskComparison:
    """Compare two boolean masks `H W` of one structure on one frame.

    Args:
        predicted: Predicted mask.
        reference: Ground truth.
        spacing_mm: (row, column) millimetres per pixel; None when unknown: distances are then
            in pixels, and `unit` says so.

    Raises:
        ArgumentError: If the masks are not boolean, not `H W`, or differ in shape, or the
            spacing is not positive.
    """
    _check(predicted, reference)
    if predicted.ndim != 2:
        raise ArgumentError(f"masks must be (H, W), one frame at a time, got {predicted.shape}")
    if spacing_mm is not None and not all(math.isfinite(s) and s > 0 for s in spacing_mm):
        raise ArgumentError(f"spacing_mm must be positive and finite, got {spacing_mm}")
    spacing = (1.0, 1.0) if spacing_mm is None else spacing_mm
    unit = "px" if spacing_mm is None else "mm"
    filled = int(predicted.any()) + int(reference.any())
    if filled == 0:
        return MaskComparison(
            dice=None, iou=None, hd=None, hd95=None, asd=None, status="both_empty", unit=unit
        )
    if filled == 1:
        height, width = predicted.shape
        far = math.hypot((height - 1) * spacing[0], (width - 1) * spacing[1])
        return MaskComparison(
            dice=0.0, iou=0.0, hd=far, hd95=far, asd=far, status="one_empty", unit=unit
        )
    forth, back = _surface_distances(predicted, reference, spacing)
    return MaskComparison(
        dice=dice(predicted, reference),
        iou=int((predicted & reference).sum()) / int((predicted | reference).sum()),
        hd=float(max(forth.max(), back.max())),
        hd95=float(max(np.percentile(forth, 95), np.percentile(back, 95))),
        asd=float(np.concatenate([forth, back]).mean()),
        status="ok",
        unit=unit,
    )


def area_jitter_percent(areas: np.ndarray) -> float:
    """Temporal jitter of an area curve: mean |a_(t-1) - 2 a_t + a_(t+1)| in % of mean a_t.

    A true beat at 40 frames/s has about 1 %; compare with the reference's own jitter.

    Args:
        areas: Area of one structure per frame, `T`, in any unit.

    Raises:
        ArgumentError: If there are fewer than three frames, or all areas are 0.
    """
    areas = np.asarray(areas, float)
    if areas.ndim != 1 or len(areas) < 3 or areas.mean() <= 0:
        raise ArgumentError(
            f"areas must be a curve of at least 3 frames that are not all 0, got {areas.shape}"
        )
    return float(100 * np.abs(np.diff(areas, 2)).mean() / areas.mean())


def _check(predicted: np.ndarray, reference: np.ndarray) -> None:
    if predicted.shape != reference.shape:
        raise ArgumentError(
            f"masks must have the same shape, got {predicted.shape} and {reference.shape}; "
            "resample the prediction to the reference's grid"
        )
    if predicted.dtype != bool or reference.dtype != bool:
        raise ArgumentError(
            f"masks must be boolean, got {predicted.dtype} and {reference.dtype}; "
            "select a structure, such as label=Label.LV_CAVITY in dice or labels == 1"
        )


def _surface_distances(
    predicted: np.ndarray, reference: np.ndarray, spacing: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray]:
    """Distances from the first surface to the second, and back."""
    # no surface lies outside the bounding box of the union
    rows = np.flatnonzero((predicted | reference).any(1))
    columns = np.flatnonzero((predicted | reference).any(0))
    box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    first, second = _surface(predicted[box]), _surface(reference[box])
    to_first = np.asarray(ndimage.distance_transform_edt(~first, sampling=spacing))
    to_second = np.asarray(ndimage.distance_transform_edt(~second, sampling=spacing))
    return to_second[first], to_first[second]


def _surface(mask: np.ndarray) -> np.ndarray:
    return mask ^ np.asarray(ndimage.binary_erosion(mask))

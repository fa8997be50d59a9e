"""How near two masks are: Dice, IoU, HD, HD95 and ASD of one structure on one frame.

The surface of a mask is the mask without its 4-connected erosion; outside the picture is
background. With d(P, R) the distances from each surface pixel of P to the nearest of R:

    HD = max(max d(P, R), max d(R, P)),  HD95 = max(p95 d(P, R), p95 d(R, P)),
    ASD = mean of d(P, R) and d(R, P) pooled
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import ndimage


@dataclass(frozen=True, kw_only=True, slots=True)
class MaskComparison:
    """How near a predicted mask is to its reference.

    Average over items with status `ok` or `one_empty`, never over batches; count the others.

    Attributes:
        dice: 0 to 1; None when both masks are empty.
        iou: 0 to 1; None when both masks are empty.
        hd: Hausdorff distance in `unit`; None when both masks are empty, the diagonal of the
            picture when one is.
        hd95: The same with 95th percentiles in place of the maxima.
        asd: Average symmetric surface distance, empty masks as for `hd`.
        status: Whether both masks hold something, one of them, or none.
        unit: `mm` when the spacing is known, else `px`.
    """

    dice: float | None
    iou: float | None
    hd: float | None
    hd95: float | None
    asd: float | None
    status: Literal["ok", "one_empty", "both_empty"]
    unit: Literal["mm", "px"]


def dice(predicted: np.ndarray, reference: np.ndarray) -> float | None:
    """Return 2 |A and B| / (|A| + |B|) without smoothing; None when both masks are empty.

    Raises:
        ValueError: If the masks differ in shape or are not boolean.
    """
    _check(predicted, reference)
    total = int(predicted.sum()) + int(reference.sum())
    return 2 * int((predicted & reference).sum()) / total if total else None


def compare_masks(
    predicted: np.ndarray,
    reference: np.ndarray,
    spacing_mm: tuple[float, float] | None = None,
) -> MaskComparison:
    """Compare two boolean masks `H W` of one structure on one frame.

    Args:
        predicted: What is judged.
        reference: What it is judged by.
        spacing_mm: (row, column) millimetres a pixel; None when unknown: distances are then
            in pixels and say so.

    Raises:
        ValueError: If the masks are not boolean, not `H W`, or differ in shape, or the spacing
            is not positive.
    """
    _check(predicted, reference)
    if predicted.ndim != 2:
        raise ValueError(f"masks must be (H, W), one frame at a time, got {predicted.shape}")
    if spacing_mm is not None and not all(math.isfinite(s) and s > 0 for s in spacing_mm):
        raise ValueError(f"spacing_mm must be positive and finite, got {spacing_mm}")
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
    """Return how much an area curve trembles: mean |a_(t-1) - 2 a_t + a_(t+1)| in % of mean a_t.

    A true beat at 40 frames/s has some 1 %; compare with the reference's own.

    Args:
        areas: `T`, of one structure on each frame of a clip, in any unit.

    Raises:
        ValueError: If there are fewer than three frames, or no area at all.
    """
    areas = np.asarray(areas, float)
    if areas.ndim != 1 or len(areas) < 3 or areas.mean() <= 0:
        raise ValueError(
            f"areas must be a curve of at least 3 frames that are not all 0, got {areas.shape}"
        )
    return float(100 * np.abs(np.diff(areas, 2)).mean() / areas.mean())


def _check(predicted: np.ndarray, reference: np.ndarray) -> None:
    if predicted.shape != reference.shape:
        raise ValueError(
            f"masks must have one shape, got {predicted.shape} and {reference.shape}; "
            "bring the prediction to the reference's grid first"
        )
    if predicted.dtype != bool or reference.dtype != bool:
        raise ValueError(
            f"masks must be boolean, got {predicted.dtype} and {reference.dtype}; "
            "pick one structure, such as `labels == Label.LV_CAVITY`"
        )


def _surface_distances(
    predicted: np.ndarray, reference: np.ndarray, spacing: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray]:
    """Return distances from the first surface to the second, and back."""
    # no surface lies outside the union's box, so that the distances in it are the whole picture's
    rows = np.flatnonzero((predicted | reference).any(1))
    columns = np.flatnonzero((predicted | reference).any(0))
    box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    first, second = _surface(predicted[box]), _surface(reference[box])
    to_first = np.asarray(ndimage.distance_transform_edt(~first, sampling=spacing))
    to_second = np.asarray(ndimage.distance_transform_edt(~second, sampling=spacing))
    return to_second[first], to_first[second]


def _surface(mask: np.ndarray) -> np.ndarray:
    return mask ^ np.asarray(ndimage.binary_erosion(mask))

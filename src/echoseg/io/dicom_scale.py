"""What a DICOM object states of scale: the Sequence of Ultrasound Regions (PS3.3 C.8.5.5).

Pixel Spacing is never used in its place, but told where it contradicts. A region that does not fit
the picture is that of a picture of another size: its scale is wrong too.
"""

from typing import Any

import numpy as np

from echoseg.clip import Clip, ClipWarning, SourceDecision, SourceStatement
from echoseg.io.arbitration import decide
from echoseg.io.dicom_time import read_number, read_numbers
from echoseg.io.frames import file_scale

_TISSUE, _TWO_D, _CENTIMETRE = 1, 1, 3
_MAX_OUTSIDE = 0.1
"""Share of the moving sector that may lie outside all regions."""
_ORIGIN = "Sequence of Ultrasound Regions (0018,6011)"
Box = tuple[int, int, int, int]
"""(top, left, bottom, right), half open."""


def read_scale(
    dataset: Any, frames: np.ndarray
) -> tuple[Box | None, SourceDecision, tuple[ClipWarning, ...]]:
    """Decide on the pixel spacing.

    Args:
        dataset: The object.
        frames: Its decoded grey frames, `T H W` uint8.

    Returns:
        Region box, decision on the spacing, and warnings of spacings that are not used.
    """
    box, statements, notes = _region_statement(dataset, frames)
    for keyword, origin in (
        ("PixelSpacing", "Pixel Spacing (0028,0030)"),
        ("ImagerPixelSpacing", "Imager Pixel Spacing (0018,1164)"),
    ):
        numbers, text = read_numbers(dataset, keyword)
        if len(numbers) == 2:
            value, implausible = file_scale(*numbers)
            why = "implausible" if implausible else ""
            if value == (1.0, 1.0):
                why = "the default of many tools"
            if not statements or statements[0].unused_because:
                why = why or "not the scale of an ultrasound region"
            statements.append(
                SourceStatement(origin=origin, value=value, text=f"{text} mm", unused_because=why)
            )
    return box, decide("spacing_mm", statements), notes


def _region_statement(
    dataset: Any, frames: np.ndarray
) -> tuple[Box | None, list[SourceStatement], tuple[ClipWarning, ...]]:
    """Box of the largest 2-D tissue region in centimetres, its statement, and warnings."""
    regions = _regions(dataset)
    tissue = [
        one
        for one in regions
        if all(
            read_number(one, keyword) == value
            for keyword, value in (
                ("RegionSpatialFormat", _TWO_D),
                ("RegionDataType", _TISSUE),
                ("PhysicalUnitsXDirection", _CENTIMETRE),
                ("PhysicalUnitsYDirection", _CENTIMETRE),
            )
        )
    ]
    boxes = [box for one in tissue if (box := _box(one)) is not None]
    if not boxes:
        return None, [], ()
    chosen = max(range(len(boxes)), key=lambda index: _area(boxes[index]))
    rows, columns = frames.shape[1:]
    region = [one for one in tissue if _box(one) is not None][chosen]
    delta_x, delta_y = (abs(read_number(region, f"PhysicalDelta{axis}") or 0) for axis in "XY")
    value = (10 * delta_y, 10 * delta_x)
    text = f"{delta_y:g} x {delta_x:g} cm"
    every = [box for one in regions if (box := _box(one)) is not None]
    if why := _misfit(boxes[chosen], every, frames):
        message = (
            f"The file's ultrasound region {_corners(boxes[chosen])} {why} its image of {columns} "
            f"x {rows} pixels: the clip was resized without updating its pixel spacing, which is "
            "ignored. Give spacing_mm (--spacing-mm) if you know it."
        )
        statement = SourceStatement(
            origin=_ORIGIN, value=value, text=text, unused_because=f"its region {why} the image"
        )
        return None, [statement], (ClipWarning(code="stale_scale", message=message),)
    spacing_mm, notes = file_scale(*value)
    statement = SourceStatement(
        origin=_ORIGIN,
        value=spacing_mm,
        text=text,
        unused_because="implausible" if notes else "",
    )
    top, left, bottom, right = boxes[chosen]
    return (top, left, min(bottom, rows), min(right, columns)), [statement], notes


def _regions(dataset: Any) -> list[Any]:
    """The regions; empty where there is no sequence of them."""
    try:
        return list(dataset.get("SequenceOfUltrasoundRegions") or [])
    except (ValueError, TypeError, AttributeError, NotImplementedError):
        return []


def _box(region: Any) -> Box | None:
    """Box of a region; None where it is incomplete."""
    corners = [
        read_number(region, f"RegionLocation{corner}")
        for corner in ("MinY0", "MinX0", "MaxY1", "MaxX1")
    ]
    if any(corner is None for corner in corners):
        return None
    top, left, bottom, right = (int(corner) for corner in corners)  # type: ignore[arg-type]
    return top, left, bottom + 1, right + 1


def _area(box: Box) -> int:
    return (box[2] - box[0]) * (box[3] - box[1])


def _corners(box: Box) -> str:
    return f"({box[1]},{box[0]})-({box[3] - 1},{box[2] - 1})"


def _misfit(box: Box, every: list[Box], frames: np.ndarray) -> str:
    """How a region does not fit the image; empty where it does.

    Its last pixel may be counted exclusively. Most of what moves must lie in the regions, and what
    moves must not be the region's own shape at another size.
    """
    from echoseg.preprocess.sector import find_sector

    rows, columns = frames.shape[1:]
    top, left, bottom, right = box
    if right > columns + 1 or bottom > rows + 1 or min(box) < 0 or right <= left or bottom <= top:
        return "exceeds"
    step = max(1, max(rows, columns) // 320)
    sector = find_sector(Clip(frames=frames[:, ::step, ::step]))
    if sector is None:
        return ""
    outside = sector.mask.copy()
    for one in every:
        first_row, first_column, end_row, end_column = (max(0, -(-edge // step)) for edge in one)
        outside[first_row:end_row, first_column:end_column] = False
    if outside.sum() > _MAX_OUTSIDE * sector.mask.sum():
        return "leaves out much of what moves in"
    return ""

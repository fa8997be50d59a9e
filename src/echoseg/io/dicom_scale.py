"""What a DICOM object states of scale: the Sequence of Ultrasound Regions (PS3.3 C.8.5.5).

Pixel Spacing is never used in its place, but told where it contradicts. A region that does not fit
the picture is that of a picture of another size: its scale is wrong too.
"""

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from echoseg.clip import Clip, ClipWarning, SourceDecision, SourceStatement
from echoseg.io.arbitration import decide
from echoseg.io.dicom_time import read_number, read_numbers
from echoseg.io.frames import file_scale
from echoseg.io.header_scale import header_scale

_TISSUE_IN_CM = {"RegionSpatialFormat": 1, "RegionDataType": 1} | {
    f"PhysicalUnits{axis}Direction": 3 for axis in "XY"
}
"""What the elements of a 2-D region of tissue in centimeters hold."""
_TRACE_FORMAT, _TRACES = 4, (0x0A, 0x0B, 0x0C, 0x12)
"""Spatial format of a waveform; data types of ECG, pulse, phonocardiogram, other physiology."""
_MAX_TRACE = 0.5
"""Share of the picture up to which a trace lies beside it; a larger one is drawn over it."""
_MAX_OUTSIDE = 0.1
"""Share of the moving sector that may lie outside all regions."""
_ORIGIN = "Sequence of Ultrasound Regions (0018,6011)"
Box = tuple[int, int, int, int]
"""(top, left, bottom, right), half open."""


class RegionBoxes(NamedTuple):
    """Boxes of the 2-D region of tissue, and of ECG and other traces; none where unknown."""

    tissue: Box | None = None
    traces: tuple[Box, ...] = ()


def read_scale(
    dataset: Any, frames: np.ndarray
) -> tuple[RegionBoxes, SourceDecision, tuple[ClipWarning, ...]]:
    """Decide on the pixel spacing.

    Args:
        dataset: The object.
        frames: Its decoded grey frames, `T H W` uint8.

    Returns:
        Region boxes, decision on the spacing, and warnings of spacings that are not used.
    """
    boxes, statements, notes = _region_statement(dataset, frames)
    numbers, _ = read_numbers(dataset, "PixelSpacing")
    if len(numbers) == 2:
        origin, spacing = "Pixel Spacing (0028,0030)", (numbers[0], numbers[1])
        (stated,) = header_scale(origin, spacing, "mm", to_mm=1.0)[0].statements
        if not statements or statements[0].unused_because:
            stated = replace(stated, unused_because="not the scale of an ultrasound region")
        statements.append(stated)
    return boxes, decide("spacing_mm", statements), notes


def _region_statement(
    dataset: Any, frames: np.ndarray
) -> tuple[RegionBoxes, list[SourceStatement], tuple[ClipWarning, ...]]:
    """Box of the largest 2-D tissue region in centimetres and of traces, statement, warnings."""
    regions = [(box, one) for one in _regions(dataset) if (box := _box(one)) is not None]
    tissue = [
        (box, one)
        for box, one in regions
        if all(read_number(one, keyword) == value for keyword, value in _TISSUE_IN_CM.items())
    ]
    rows, columns = frames.shape[1:]
    if not tissue:
        return RegionBoxes(None, _traces(regions, (0, 0, rows, columns))), [], ()
    box, region = max(tissue, key=lambda pair: _area(pair[0]))
    value, text = _deltas(region)
    if why := _misfit(box, [one for one, _ in regions], frames):
        message = (
            f"The file's ultrasound region {_corners(box)} {why} its image of {columns} "
            f"x {rows} pixels: the clip was resized without updating its pixel spacing, which is "
            "ignored. Give --spacing-mm (spacing_mm) if you know it."
        )
        statement = SourceStatement(
            origin=_ORIGIN, value=value, text=text, unused_because=f"its region {why} the image"
        )
        return RegionBoxes(), [statement], (ClipWarning(code="stale_scale", message=message),)
    spacing_mm, notes = file_scale(*value)
    why = "implausible" if notes else ""
    statement = SourceStatement(origin=_ORIGIN, value=spacing_mm, text=text, unused_because=why)
    others, more_notes = _other_tissue(box, [pair for pair in tissue if pair[1] is not region])
    top, left, bottom, right = box
    box = top, left, min(bottom, rows), min(right, columns)
    return RegionBoxes(box, _traces(regions, box)), [statement, *others], notes + more_notes


def _deltas(region: Any) -> tuple[tuple[float, float], str]:
    """(row, column) pixel spacing of a region in mm, and its text."""
    delta_x, delta_y = (abs(read_number(region, f"PhysicalDelta{axis}") or 0) for axis in "XY")
    return (10 * delta_y, 10 * delta_x), f"{delta_y:g} x {delta_x:g} cm"


def _other_tissue(
    box: Box, others: list[tuple[Box, Any]]
) -> tuple[list[SourceStatement], tuple[ClipWarning, ...]]:
    """What regions of tissue state that cover the measured one, and a note of one beside it."""
    statements, apart = list[SourceStatement](), list[str]()
    for other, region in others:
        top, left = max(box[0], other[0]), max(box[1], other[1])
        bottom, right = min(box[2], other[2]), min(box[3], other[3])
        shared = max(0, bottom - top) * max(0, right - left)
        if shared > _MAX_OUTSIDE * _area(other):
            value, text = _deltas(region)
            why = "" if file_scale(*value)[0] else "implausible"
            origin = "another ultrasound region in its place"
            statements.append(
                SourceStatement(origin=origin, value=value, text=text, unused_because=why)
            )
        elif other[2] > other[0] and other[3] > other[1]:
            apart.append(_corners(other))
    if not apart:
        return statements, ()
    message = (
        f"The file has another picture of tissue at {apart[0]}, as on a split screen: only the "
        f"one at {_corners(box)} is measured."
    )
    return statements, (ClipWarning(code="second_picture", message=message),)


def _traces(regions: list[tuple[Box, Any]], picture: Box) -> tuple[Box, ...]:
    """Boxes of ECG and other traces, as far as they lie in a picture and beside what it shows."""
    traces = []
    for box, region in regions:
        is_wave = read_number(region, "RegionSpatialFormat") == _TRACE_FORMAT
        if is_wave or read_number(region, "RegionDataType") in _TRACES:
            top, left = (max(pair) for pair in zip(box[:2], picture[:2], strict=True))
            bottom, right = (min(pair) for pair in zip(box[2:], picture[2:], strict=True))
            if top < bottom and left < right:
                traces.append((top, left, bottom, right))
    return tuple(one for one in traces if _area(one) <= _MAX_TRACE * _area(picture))


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

"""How many frames a DICOM object has: what its pixels hold, against Number of Frames."""

import io
from typing import Any

from echoseg.clip import SourceDecision, SourceStatement
from echoseg.io.arbitration import decide
from echoseg.io.dicom_fragments import Item, first_of_frames, list_items
from echoseg.io.dicom_time import read_number


def expect_frames(dataset: Any, *, is_video: bool) -> SourceDecision:
    """Count the frames in the pixels, compare them with Number of Frames, and set that.

    Of a truncated file (`pixels_are_cut`) the stated number is taken, so that the missing frames
    count as damaged. Of a video that is whole only its decoder knows the number.

    Args:
        dataset: With Pixel Data as a file, from `dicom_pixels.open_dataset`.
        is_video: The pixels are one stream.
    """
    stated = read_number(dataset, "NumberOfFrames")
    is_cut = getattr(dataset, "pixels_are_cut", False)
    dataset.NumberOfFrames = 1
    present = None if is_video else _count(dataset, int(stated or 0))
    decision = decide_frames(None if is_cut and stated else present, stated)
    number: Any = decision.value if decision.value is not None else 1
    is_raw = present is not None and not dataset.file_meta.TransferSyntaxUID.is_encapsulated
    dataset.NumberOfFrames = min(number, present) if is_raw else int(number)
    return decision


def decide_frames(present: int | None, stated: float | None) -> SourceDecision:
    """Decide on the number of frames: those in the pixels before the number that is stated."""
    statements = [] if present is None else [SourceStatement(origin="the pixels", value=present)]
    if stated is not None:
        why = "" if stated >= 1 else "not a positive number"
        origin = "Number of Frames (0028,0008)"
        statements.append(SourceStatement(origin=origin, value=stated, unused_because=why))
    return decide("num_frames", statements)


def _count(dataset: Any, stated: int) -> int | None:
    """Frames in the pixels; None where that is unknown."""
    from pydicom.pixels.utils import get_expected_length

    if dataset.file_meta.get("TransferSyntaxUID", None) is None:
        return None
    if dataset.file_meta.TransferSyntaxUID.is_encapsulated:
        table, *fragments = list_items(dataset.PixelData) or [Item(0, 8, b"")]
        size = table.end - table.start - 8  # of a table that `mend` kept, frames of broken ones too
        return size // 4 or len(first_of_frames(fragments)) or None
    try:
        frame_bytes = get_expected_length(dataset)
    except (AttributeError, KeyError, TypeError, ValueError):  # reported when they are decoded
        return None
    space = str(dataset.get("PhotometricInterpretation", ""))
    if space == "YBR_PARTIAL_422":  # which pydicom takes for whole samples
        frame_bytes = 2 * frame_bytes // 3
    num_bytes = dataset.PixelData.seek(0, io.SEEK_END)
    dataset.PixelData.seek(0)
    whole, rest = divmod(num_bytes, max(1, frame_bytes))
    is_full = space.endswith("_422")  # or may be
    is_odd = rest > 1 or (is_full and 2 * num_bytes // 3 - frame_bytes * stated in (0, 1))
    return stated if stated and is_odd and whole > stated else whole
